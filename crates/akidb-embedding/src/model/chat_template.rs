//! The chat template among a model's files, and what it is rendered with.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::ModelFiles;
use crate::error::EmbedError;

const TEMPLATE: &str = "chat_template.jinja";
const TOKENIZER: &str = "tokenizer_config.json";
const SENTENCE_BERT: &str = "sentence_bert_config.json";

/// A template, as transformers finds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChatTemplateFile {
    /// The file, as a user would look for it.
    pub(crate) file: String,
    pub(crate) template: String,
    /// Special tokens by their names, then what the model wants the template to be given.
    pub(crate) variables: Map<String, Value>,
    /// The model is a pipeline of sentence-transformers, which renders pairs as messages of the roles
    /// `query` and `document`.
    pub(crate) is_pipeline: bool,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<OneOrNamed>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrNamed {
    One(String),
    Named(Vec<Named>),
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceBert {
    #[serde(default)]
    processing_kwargs: ProcessingArguments,
}

#[derive(Debug, Default, Deserialize)]
struct ProcessingArguments {
    #[serde(default)]
    chat_template: Map<String, Value>,
}

impl ChatTemplateFile {
    /// `None` where no file has a template.
    pub(crate) fn read(files: &ModelFiles) -> Result<Option<Self>, EmbedError> {
        let tokenizer: TokenizerConfig = files.json(TOKENIZER)?.unwrap_or_default();
        let is_pipeline = files.read("modules.json")?.is_some();
        let mut variables = special_tokens(&tokenizer.others);
        let mut wanted = None;
        if is_pipeline {
            let sentence: SentenceBert = files.json(SENTENCE_BERT)?.unwrap_or_default();
            let mut arguments = sentence.processing_kwargs.chat_template;
            wanted = arguments.remove("chat_template");
            variables.extend(arguments);
        }
        let wanted = wanted.as_ref().and_then(Value::as_str);
        let found = match wanted.filter(|text| text.contains('{')) {
            Some(text) => Some((SENTENCE_BERT.to_owned(), text.to_owned())),
            None => named(files, tokenizer.chat_template, wanted)?,
        };
        let Some((file, template)) = found else {
            return Ok(None);
        };
        Ok(Some(Self {
            file: files.label(&file),
            template,
            variables,
            is_pipeline,
        }))
    }
}

/// The template of that name, without one the model's only or default one; and its file.
fn named(
    files: &ModelFiles,
    in_config: Option<OneOrNamed>,
    name: Option<&str>,
) -> Result<Option<(String, String)>, EmbedError> {
    let is_default = name.is_none_or(|name| name == "default");
    let file = match name.filter(|_| !is_default) {
        None => TEMPLATE.to_owned(),
        // A name, not a path.
        Some(name) if name.contains(['/', '\\']) => return Ok(None),
        Some(name) => format!("additional_chat_templates/{name}.jinja"),
    };
    if let Some(bytes) = files.read(&file)? {
        return match String::from_utf8(bytes.into_owned()) {
            Ok(template) => Ok(Some((file, template))),
            Err(_) => Err(EmbedError::Unsupported(format!(
                "{} is not UTF-8",
                files.label(&file)
            ))),
        };
    }
    let template = match in_config {
        Some(OneOrNamed::One(template)) => is_default.then_some(template),
        Some(OneOrNamed::Named(templates)) => {
            let name = name.unwrap_or("default");
            let mut templates = templates.into_iter();
            templates
                .find(|template| template.name == name)
                .map(|template| template.template)
        }
        None => None,
    };
    Ok(template.map(|template| (TOKENIZER.to_owned(), template)))
}

/// `eos_token` and the like, by their names.
fn special_tokens(config: &Map<String, Value>) -> Map<String, Value> {
    const NAMES: [&str; 7] = [
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    ];
    let token = |name: &&str| {
        let token = config.get(*name)?;
        let content = token.get("content").unwrap_or(token).as_str()?;
        Some(((*name).to_owned(), content.into()))
    };
    NAMES.iter().filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Option<ChatTemplateFile>, EmbedError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        ChatTemplateFile::read(&ModelFiles::at("m".to_owned(), dir.path().to_owned(), None))
    }

    const LIST: &str = r#"{"chat_template": [{"name": "default", "template": "a"}, {"name": "pair", "template": "b"}],
                           "eos_token": {"content": "<end>"}, "bos_token": null, "pad_token": "<pad>"}"#;

    #[test]
    fn a_template_is_where_transformers_looks_for_it() {
        assert_eq!(read(&[]).unwrap(), None);
        let one = (TOKENIZER, r#"{"chat_template": "one"}"#);
        let template = |files: &[(&str, &str)]| read(files).unwrap().unwrap().template;
        assert_eq!(template(&[one]), "one");
        assert_eq!(template(&[one, (TEMPLATE, "file")]), "file");
        let found = read(&[(TOKENIZER, LIST)]).unwrap().unwrap();
        assert_eq!(found.template, "a");
        let variables = Value::Object(found.variables);
        assert_eq!(
            variables,
            serde_json::json!({"eos_token": "<end>", "pad_token": "<pad>"})
        );
    }

    #[test]
    fn a_pipeline_names_a_template_and_what_it_is_given() {
        let modules = ("modules.json", "[]");
        let arguments = |chat_template: &str| {
            format!(r#"{{"processing_kwargs": {{"chat_template": {chat_template}}}}}"#)
        };
        let pair = arguments(r#"{"chat_template": "pair", "add_generation_prompt": true}"#);
        let files = [(TOKENIZER, LIST), (SENTENCE_BERT, &pair), modules];
        let found = read(&files).unwrap().unwrap();
        assert!(found.is_pipeline);
        assert_eq!(found.template, "b");
        assert_eq!(found.variables["add_generation_prompt"], true);
        let other = read(&files[..2]).unwrap().unwrap();
        assert!(!other.is_pipeline);
        assert_eq!(other.template, "a");
        let file = ("additional_chat_templates/pair.jinja", "c");
        let found = read(&[file, files[0], files[1], modules]);
        assert_eq!(found.unwrap().unwrap().template, "c");
        let text = arguments(r#"{"chat_template": "{{ messages }}"}"#);
        let found = read(&[(SENTENCE_BERT, &text), modules]).unwrap().unwrap();
        assert_eq!(found.template, "{{ messages }}");
        let outside = arguments(r#"{"chat_template": "../pair"}"#);
        let found = read(&[file, (SENTENCE_BERT, &outside), modules]);
        assert_eq!(found.unwrap(), None);
    }
}

//! What a model's JSON files say of how to use it.

use std::collections::BTreeMap;

use akidb_backend::Pooling;
use serde::Deserialize;

use super::files::{CONFIG, ModelFiles};
use crate::error::EmbedError;
use crate::prompt::Prompts;

const PROMPTS: &str = "config_sentence_transformers.json";
const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";

/// The published prompts of Qwen3-Embedding, for directories that lack the file with them.
const QWEN3_QUERY: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";

/// How to use a model.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pooling: Pooling,
    pub(crate) prompts: Prompts,
    /// Ids that end a text, for decoders; the first is the one to append.
    pub(crate) eos_token_ids: Vec<u32>,
    pub(crate) vocab_size: Option<usize>,
    pub(crate) hidden_size: Option<usize>,
    /// Width of an attention head.
    pub(crate) head_dim: Option<usize>,
    /// Longest text in tokens: the smallest of the limits that the files state.
    pub(crate) max_tokens: Option<usize>,
    /// Dimensions that vectors may be cut to, where the model names them.
    pub(crate) matryoshka_dimensions: Option<Vec<usize>>,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    model_type: Option<String>,
    eos_token_id: Option<OneOrMany>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    head_dim: Option<usize>,
    num_attention_heads: Option<usize>,
    max_position_embeddings: Option<usize>,
    matryoshka_dimensions: Option<Vec<usize>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Debug, Default, Deserialize)]
struct SentenceTransformers {
    /// One that is null is empty.
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceBert {
    max_seq_length: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    /// Some exporters write 1e30 for "no limit".
    model_max_length: Option<f64>,
}

impl Settings {
    pub(crate) fn read(files: &ModelFiles) -> Result<Self, EmbedError> {
        check_modules(files)?;
        let config: Config = files.json(CONFIG)?.unwrap_or_default();
        let decoder = config
            .architectures
            .iter()
            .any(|a| a.ends_with("ForCausalLM"));
        let qwen3 = config.model_type.as_deref() == Some("qwen3");

        let sentence: SentenceBert = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let tokenizer: TokenizerConfig = files.json("tokenizer_config.json")?.unwrap_or_default();
        let max_tokens = [
            config.max_position_embeddings,
            sentence.max_seq_length,
            tokenizer.model_max_length.map(|n| n as usize),
        ]
        .into_iter()
        .flatten()
        .min();

        Ok(Self {
            pooling: pooling(files, decoder)?,
            prompts: prompts(files, qwen3)?,
            eos_token_ids: match config.eos_token_id {
                Some(OneOrMany::One(id)) => vec![id],
                Some(OneOrMany::Many(ids)) => ids,
                None => Vec::new(),
            },
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            head_dim: config
                .head_dim
                .or_else(|| config.hidden_size?.checked_div(config.num_attention_heads?)),
            max_tokens,
            matryoshka_dimensions: config.matryoshka_dimensions,
        })
    }
}

fn prompts(files: &ModelFiles, qwen3: bool) -> Result<Prompts, EmbedError> {
    let Some(file) = files.json::<SentenceTransformers>(PROMPTS)? else {
        let published = qwen3.then(|| ("query".to_owned(), QWEN3_QUERY.to_owned()));
        return Ok(Prompts {
            by_name: published.into_iter().collect(),
            default: None,
        });
    };
    if let Some(name) = &file.default_prompt_name
        && !file.prompts.contains_key(name)
    {
        return Err(EmbedError::Contradiction {
            file: files.label(PROMPTS),
            message: format!("default_prompt_name {name:?} is not among its prompts"),
        });
    }
    let text = |(name, text): (String, Option<String>)| (name, text.unwrap_or_default());
    Ok(Prompts {
        by_name: file.prompts.into_iter().map(text).collect(),
        default: file.default_prompt_name,
    })
}

/// Refuses modules that would change vectors and aren't done here.
fn check_modules(files: &ModelFiles) -> Result<(), EmbedError> {
    let modules: Vec<Module> = files.json(MODULES)?.unwrap_or_default();
    let unknown = modules.into_iter().find(|module| {
        let name = module.kind.rsplit('.').next().unwrap_or_default();
        !["Transformer", "Pooling", "Normalize"].contains(&name)
    });
    match unknown {
        Some(module) => Err(EmbedError::Unsupported(format!(
            "{}: module {:?} is not supported (Transformer, Pooling and Normalize are)",
            files.label(MODULES),
            module.kind
        ))),
        None => Ok(()),
    }
}

/// Reads the pooling file; without one, decoders use the last token and encoders the mean.
fn pooling(files: &ModelFiles, decoder: bool) -> Result<Pooling, EmbedError> {
    let Some(file) = files.json::<serde_json::Map<String, serde_json::Value>>(POOLING)? else {
        return Ok(if decoder {
            Pooling::LastToken
        } else {
            Pooling::Mean
        });
    };
    let modes: Vec<&str> = match file.get("pooling_mode").and_then(|m| m.as_str()) {
        Some(mode) => vec![mode],
        None => file
            .iter()
            .filter(|(_, on)| on.as_bool() == Some(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .collect(),
    };
    match modes.as_slice() {
        ["lasttoken"] => Ok(Pooling::LastToken),
        // The last token is never the prompt's, but a mean would have to leave the prompt out.
        _ if file.get("include_prompt").and_then(|p| p.as_bool()) == Some(false) => {
            Err(EmbedError::Unsupported(format!(
                "{}: include_prompt false is not supported",
                files.label(POOLING)
            )))
        }
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        [] => Err(EmbedError::Contradiction {
            file: files.label(POOLING),
            message: "it turns no pooling mode on".to_owned(),
        }),
        other => Err(EmbedError::Unsupported(format!(
            "{}: pooling {} is not supported (lasttoken, mean and cls are)",
            files.label(POOLING),
            other.join(" + ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(files: &[(&str, &str)]) -> Result<Settings, EmbedError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Settings::read(&ModelFiles::at("m".to_owned(), dir.path().to_owned(), None))
    }

    #[cfg(feature = "builtin")]
    #[test]
    fn the_built_in_model_says_everything() {
        let s = Settings::read(&ModelFiles::builtin().unwrap()).unwrap();
        assert_eq!(s.pooling, Pooling::LastToken);
        assert_eq!(s.eos_token_ids, [16381]);
        assert_eq!((s.vocab_size, s.max_tokens), (Some(16384), Some(2048)));
        assert_eq!(s.head_dim, Some(64));
        assert!(s.prompts.by_name["query"].starts_with("Instruct: "));
    }

    #[test]
    fn the_smallest_stated_limit_counts() {
        let s = settings(&[
            ("config.json", r#"{"max_position_embeddings": 512}"#),
            ("sentence_bert_config.json", r#"{"max_seq_length": 256}"#),
            ("tokenizer_config.json", r#"{"model_max_length": 1e30}"#),
        ]);
        assert_eq!(s.unwrap().max_tokens, Some(256));
    }

    #[test]
    fn pooling_follows_its_file_then_the_architecture() {
        let pooling = |files: &[(&str, &str)]| settings(files).map(|s| s.pooling);
        assert_eq!(pooling(&[]).unwrap(), Pooling::Mean);
        let decoder = ("config.json", r#"{"architectures": ["Qwen3ForCausalLM"]}"#);
        assert_eq!(pooling(&[decoder]).unwrap(), Pooling::LastToken);
        let cls = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "include_prompt": true}"#;
        assert_eq!(pooling(&[decoder, (POOLING, cls)]).unwrap(), Pooling::Cls);
        assert_eq!(
            pooling(&[(POOLING, r#"{"pooling_mode": "lasttoken"}"#)]).unwrap(),
            Pooling::LastToken
        );
        let two = r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}"#;
        let error = pooling(&[(POOLING, two)]).unwrap_err().to_string();
        assert!(error.contains("cls_token + max_tokens"), "{error}");
    }

    #[test]
    fn what_would_change_vectors_and_is_not_done_is_refused() {
        let dense = r#"[{"type": "sentence_transformers.models.Pooling"}, {"type": "a.Dense"}]"#;
        let error = settings(&[(MODULES, dense)]).unwrap_err().to_string();
        assert!(error.contains("a.Dense"), "{error}");
        let mean = r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#;
        let error = settings(&[(POOLING, mean)]).unwrap_err().to_string();
        assert!(error.contains("include_prompt"), "{error}");
    }

    #[test]
    fn the_default_prompt_must_be_one_of_the_prompts() {
        let prompts = |json: &str| settings(&[(PROMPTS, json)]).map(|s| s.prompts);
        let known =
            r#"{"prompts": {"query": "q: ", "document": null}, "default_prompt_name": "query"}"#;
        let known = prompts(known).unwrap();
        assert_eq!(known.default.as_deref(), Some("query"));
        assert_eq!(known.by_name["document"], "");
        let none = prompts(r#"{"prompts": {"query": "q: "}, "default_prompt_name": null}"#);
        assert_eq!(none.unwrap().default, None);
        let error = prompts(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "sts"}"#);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("default_prompt_name \"sts\""), "{error}");
    }

    #[test]
    fn broken_json_names_the_file() {
        let error = settings(&[("config.json", "{")]).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}

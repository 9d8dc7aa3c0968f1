//! Settings, tokenizer, pooling and prompts: what goes with the weights.

use std::collections::HashSet;

use serde_json::Value;

use akidb_embedding::files::ModelFiles;
use akidb_onnx::parse_json;
use akidb_onnx::validate::{Finding, Severity};

use super::{FileFindings, broken};
use crate::error::chain;

/// Findings in each of them.
pub(super) fn check(model: &ModelFiles) -> Vec<FileFindings> {
    let mut config = Checked::open(model, "config.json");
    if config.json.is_some()
        && let Err(error) = model.model_config()
    {
        config.warn(&chain(&error), "only the native engine needs this");
    }
    let mut tokenizer = Checked::open(model, "tokenizer.json");
    match tokenizer.json.take() {
        Some(json) => check_tokenizer(&json, config.json.as_ref(), &mut tokenizer),
        None => tokenizer.missing(
            Severity::Error,
            "download it: no text can be read without it",
        ),
    }
    if config.json.is_none() {
        config.missing(Severity::Error, "download it: it says what the model is");
    }
    let mut pooling = Checked::open(model, "1_Pooling/config.json");
    match &pooling.json {
        None => pooling.missing(
            Severity::Warning,
            "without it a decoder is pooled by its last token; download it if the model has it",
        ),
        Some(json) => {
            let dimension = json["word_embedding_dimension"].as_u64();
            let hidden = config.number("hidden_size");
            if let (Some(dimension), Some(hidden)) = (dimension, hidden)
                && dimension != hidden
            {
                pooling.error(
                    format!(
                        "word_embedding_dimension is {dimension}, config.json says hidden_size \
                         {hidden}"
                    ),
                    "take both files from one revision of the model",
                );
            }
        }
    }
    let mut prompts = Checked::open(model, "config_sentence_transformers.json");
    if prompts.json.is_none() {
        prompts.missing(
            Severity::Note,
            "without it the model has no prompts, or the published ones of its family",
        );
    }
    [config, tokenizer, pooling, prompts]
        .map(|checked| checked.file)
        .into()
}

/// Vocabulary, and the token that ends a text.
fn check_tokenizer(json: &Value, config: Option<&Value>, tokenizer: &mut Checked) {
    let added = json["added_tokens"].as_array();
    let added: Vec<u64> = added
        .into_iter()
        .flatten()
        .filter_map(|token| token["id"].as_u64())
        .collect();
    let vocab = json["model"]["vocab"].as_object();
    let vocab: Vec<u64> = vocab
        .into_iter()
        .flat_map(|vocab| vocab.values().filter_map(Value::as_u64))
        .collect();
    let number = |key: &str| config.and_then(|c| c[key].as_u64());
    if let Some(vocab_size) = number("vocab_size") {
        let beyond = |ids: &[u64]| {
            let last = ids.iter().max().filter(|&&last| last >= vocab_size)?;
            Some(format!(
                "it has token {last}, config.json says vocab_size {vocab_size}"
            ))
        };
        if let Some(what) = beyond(&vocab) {
            tokenizer.error(what, "take both files from one revision of the model");
        } else if let Some(what) = beyond(&added) {
            // Of models that see images, too.
            tokenizer.warn(&what, "texts with such a token can't be embedded");
        }
    }
    let ids: HashSet<u64> = vocab.into_iter().chain(added).collect();
    let Some(eos) = number("eos_token_id") else {
        return;
    };
    if !ids.is_empty() && !ids.contains(&eos) {
        tokenizer.error(
            format!("it has no token {eos}, which config.json calls eos_token_id"),
            "take both files from one revision of the model",
        );
    } else if config.is_some_and(|c| c["model_type"] == "qwen3")
        && !post_processor_adds(&json["post_processor"], eos)
    {
        tokenizer.findings().push(Finding::new(
            Severity::Note,
            format!("its post-processor does not add token {eos} at the end of a text"),
            "nothing: the token is appended where it is missing",
        ));
    }
}

/// True when a template anywhere in `post_processor` has token `id`.
fn post_processor_adds(post_processor: &Value, id: u64) -> bool {
    let in_template = post_processor["special_tokens"]
        .as_object()
        .is_some_and(|tokens| {
            let mut ids = tokens
                .values()
                .flat_map(|t| t["ids"].as_array().into_iter().flatten());
            ids.any(|found| found.as_u64() == Some(id))
        });
    let processors = post_processor["processors"].as_array();
    in_template
        || processors
            .into_iter()
            .flatten()
            .any(|inner| post_processor_adds(inner, id))
}

/// One JSON file and what was found in it.
struct Checked {
    json: Option<Value>,
    file: FileFindings,
}

impl Checked {
    fn open(model: &ModelFiles, name: &str) -> Self {
        let mut findings = Vec::new();
        let read = model.read(name).map_err(|error| chain(&error));
        let parsed = read.and_then(|bytes| {
            let json = bytes.map(|bytes| parse_json(&bytes));
            json.transpose()
                .map_err(|error: serde_json::Error| match error.is_eof() {
                    true => format!("is cut off: {error}"),
                    false => format!("is not valid JSON: {error}"),
                })
        });
        let json = parsed.unwrap_or_else(|why| {
            findings.push(broken(&why));
            None
        });
        Self {
            json,
            file: FileFindings {
                path: model.label(name),
                findings,
            },
        }
    }

    fn findings(&mut self) -> &mut Vec<Finding> {
        &mut self.file.findings
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.json.as_ref().and_then(|json| json[key].as_u64())
    }

    fn error(&mut self, what: impl Into<String>, hint: &str) {
        let finding = Finding::new(Severity::Error, what, hint);
        self.findings().push(finding);
    }

    fn warn(&mut self, what: &str, hint: &str) {
        let finding = Finding::new(Severity::Warning, what, hint);
        self.findings().push(finding);
    }

    /// Says that the file is not there, unless it is there and broken.
    fn missing(&mut self, severity: Severity, hint: &str) {
        if self.file.findings.is_empty() {
            let finding = Finding::new(severity, "is missing", hint);
            self.findings().push(finding);
        }
    }
}

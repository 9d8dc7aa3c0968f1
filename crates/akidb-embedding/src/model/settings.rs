//! What a model's JSON files say of how to use it.

use std::collections::BTreeMap;

use akidb_backend::Pooling;
use serde::Deserialize;

use super::files::{CONFIG, ModelFiles};
use crate::error::EmbedError;

const POOLING: &str = "1_Pooling/config.json";

/// The published prompts of Qwen3-Embedding, for directories that lack the file with them.
const QWEN3_QUERY: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";

/// How to use a model.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pooling: Pooling,
    /// Prompts by name.
    pub(crate) prompts: BTreeMap<String, String>,
    /// Id that ends a text, for decoders.
    pub(crate) eos_token_id: Option<u32>,
    pub(crate) vocab_size: Option<usize>,
    pub(crate) hidden_size: Option<usize>,
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
    #[serde(default)]
    prompts: BTreeMap<String, String>,
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
        let config: Config = files.json(CONFIG)?.unwrap_or_default();
        let decoder = config
            .architectures
            .iter()
            .any(|a| a.ends_with("ForCausalLM"));
        let qwen3 = config.model_type.as_deref() == Some("qwen3");

        let prompts =
            match files.json::<SentenceTransformers>("config_sentence_transformers.json")? {
                Some(file) => file.prompts,
                None if qwen3 => BTreeMap::from([("query".to_owned(), QWEN3_QUERY.to_owned())]),
                None => BTreeMap::new(),
            };
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
            prompts,
            eos_token_id: match config.eos_token_id {
                Some(OneOrMany::One(id)) => Some(id),
                Some(OneOrMany::Many(ids)) => ids.first().copied(),
                None => None,
            }
            .filter(|_| decoder),
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            max_tokens,
            matryoshka_dimensions: config.matryoshka_dimensions,
        })
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

    #[test]
    fn the_built_in_model_says_everything() {
        let s = Settings::read(&ModelFiles::builtin()).unwrap();
        assert_eq!(s.pooling, Pooling::LastToken);
        assert_eq!(s.eos_token_id, Some(16381));
        assert_eq!((s.vocab_size, s.max_tokens), (Some(16384), Some(2048)));
        assert!(s.prompts["query"].starts_with("Instruct: "));
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
    fn broken_json_names_the_file() {
        let error = settings(&[("config.json", "{")]).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}

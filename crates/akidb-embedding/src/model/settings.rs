//! What a model's JSON files say of how to use it.

use std::collections::BTreeMap;

use akidb_backend::{BackendInfo, Pooling};
use serde::Deserialize;

use super::config::{Config, OneOrMany};
use super::files::{CONFIG, ModelFiles, SENTENCE_TRANSFORMERS};
use super::pooling::{AfterPooling, PoolingFrom, head};
use super::scoring::{PairScoring, ScoringHead, other_classifier, pair_scoring};
use super::tasks::Tasks;
use crate::error::EmbedError;
use crate::prompt::{Prompt, Prompts};

/// The published prompts of Qwen3-Embedding, for directories that lack the file with them.
const QWEN3_QUERY: &str =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";

/// How to use a model.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pooling: Pooling,
    pub(crate) pooling_from: PoolingFrom,
    /// How pairs of texts are scored, where the model does that.
    pub(crate) scoring: Option<PairScoring>,
    /// The architecture of a classifier that scores no pairs.
    pub(crate) other_classifier: Option<String>,
    /// What changes vectors after they are pooled.
    pub(crate) after_pooling: Option<AfterPooling>,
    pub(crate) prompts: Prompts,
    /// The adaptations among which a graph with a `task_id` has the choice.
    pub(crate) tasks: Option<Tasks>,
    /// Ids that end a text, for decoders; the first is the one to append.
    pub(crate) eos_token_ids: Vec<u32>,
    /// Id that fills up shorter texts.
    pub(crate) pad_token_id: u32,
    pub(crate) vocab_size: Option<usize>,
    pub(crate) hidden_size: Option<usize>,
    /// Width of an attention head.
    pub(crate) head_dim: Option<usize>,
    /// Longest text in tokens: the smallest of the limits that the files state.
    pub(crate) max_tokens: Option<usize>,
    /// The side that is cut off, where tokenizer_config.json says it.
    pub(crate) truncation_side: Option<TruncationSide>,
    /// Texts are put in lower case before they are tokenized.
    pub(crate) lower_case: bool,
    /// Dimensions that vectors may be cut to, where the model names them.
    pub(crate) matryoshka_dimensions: Option<Vec<usize>>,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceTransformers {
    /// One that is null is empty.
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceBert {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    /// Some exporters write 1e30 for "no limit".
    model_max_length: Option<f64>,
    truncation_side: Option<TruncationSide>,
}

/// Which side of texts that are too long is cut off, as transformers names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TruncationSide {
    Left,
    Right,
}

impl Settings {
    pub(crate) fn read(files: &ModelFiles) -> Result<Self, EmbedError> {
        let config: Config = files.json(CONFIG)?.unwrap_or_default();
        let head = head(files, &config)?;
        let scoring = pair_scoring(files, &config)?;
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
        let prompts = prompts(files, qwen3)?;
        let pad = config.pad_token_id.and_then(|id| u32::try_from(id).ok());
        let in_vocabulary = |id: &u32| config.vocab_size.is_none_or(|size| (*id as usize) < size);

        Ok(Self {
            pooling: match &scoring {
                Some(scoring) => scoring.pooling(),
                None => head.pooling,
            },
            pooling_from: match &scoring {
                Some(_) => PoolingFrom::Family,
                None => head.from,
            },
            other_classifier: other_classifier(&config),
            after_pooling: head.after.filter(|_| scoring.is_none()),
            scoring,
            tasks: Tasks::of(config.lora_adaptations, &prompts),
            prompts,
            eos_token_ids: match config.eos_token_id {
                Some(OneOrMany::One(id)) => vec![id],
                Some(OneOrMany::Many(ids)) => ids,
                None => Vec::new(),
            },
            pad_token_id: pad.filter(in_vocabulary).unwrap_or_default(),
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            head_dim: config
                .head_dim
                .or_else(|| config.hidden_size?.checked_div(config.num_attention_heads?)),
            max_tokens,
            truncation_side: tokenizer.truncation_side,
            lower_case: sentence.do_lower_case.unwrap_or_default(),
            matryoshka_dimensions: config.matryoshka_dimensions,
        })
    }

    /// The same, pooled as the caller wants it.
    ///
    /// # Errors
    /// When modules follow the pooling, which expect what the model's own gives.
    pub(crate) fn pooled_by(mut self, pooling: Option<Pooling>) -> Result<Self, EmbedError> {
        let Some(pooling) = pooling else {
            return Ok(self);
        };
        if let Some(AfterPooling { module, .. }) = &self.after_pooling {
            return Err(EmbedError::Unsupported(format!(
                "the model's module {module} follows its own pooling: it can't be pooled another way"
            )));
        }
        (self.pooling, self.pooling_from) = (pooling, PoolingFrom::Caller);
        Ok(self)
    }

    /// Whether the model scores pairs and makes no vectors.
    pub(crate) fn is_reranker(&self) -> bool {
        self.scoring.as_ref().is_some_and(|scoring| scoring.certain)
    }

    /// Whether layers behind the pooling make its scores.
    pub(crate) fn is_classifier(&self) -> bool {
        let scoring = self.scoring.as_ref();
        scoring.is_some_and(|scoring| matches!(scoring.head, ScoringHead::Classifier(_)))
    }

    /// The same for someone who wants pairs scored: a guess that the model does it is taken.
    pub(crate) fn for_scoring(mut self) -> Self {
        if let Some(scoring) = &mut self.scoring
            && !scoring.certain
        {
            (scoring.certain, scoring.guessed) = (true, true);
        }
        self
    }

    /// Width of the model's vectors, where its files say it.
    pub(crate) fn width(&self) -> Option<usize> {
        let after = self.after_pooling.as_ref();
        after.map_or(self.hidden_size, |after| after.width)
    }

    /// Number and name of the adaptation for texts with this prompt, where the model has several.
    pub(crate) fn task(&self, prompt: &Prompt) -> Result<Option<(u32, &str)>, EmbedError> {
        let default = self.prompts.default.as_deref();
        let tasks = self.tasks.as_ref();
        tasks
            .map(|tasks| tasks.for_prompt(prompt, default))
            .transpose()
    }

    /// Forgets the adaptations of a model whose graph has no choice among them.
    pub(crate) fn without_tasks(self) -> Self {
        Self {
            tasks: None,
            ..self
        }
    }

    /// What no file says, of what matters to a model that has been loaded.
    pub(crate) fn guesses(&self, info: &BackendInfo) -> Vec<String> {
        let pooling = self.pooling_from == PoolingFrom::Guess && !info.graph.pools;
        let tasks = self.tasks.as_ref().is_some_and(|tasks| tasks.guessed);
        let pooling = pooling.then(|| format!("pooling: {}", self.pooling));
        let tasks = tasks.then(|| "task: numbered as in jina-embeddings-v3".to_owned());
        let scoring = self.scoring.as_ref().is_some_and(|scoring| scoring.guessed);
        let scoring = scoring.then(|| "scoring: yes against no".to_owned());
        pooling.into_iter().chain(tasks).chain(scoring).collect()
    }
}

fn prompts(files: &ModelFiles, qwen3: bool) -> Result<Prompts, EmbedError> {
    let Some(file) = files.json::<SentenceTransformers>(SENTENCE_TRANSFORMERS)? else {
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
            file: files.label(SENTENCE_TRANSFORMERS),
            message: format!("default_prompt_name {name:?} is not among its prompts"),
        });
    }
    let text = |(name, text): (String, Option<String>)| (name, text.unwrap_or_default());
    Ok(Prompts {
        by_name: file.prompts.into_iter().map(text).collect(),
        default: file.default_prompt_name,
    })
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
    fn a_caller_may_want_another_pooling_unless_something_follows_it() {
        let s = settings(&[]).unwrap();
        let asked = s.clone().pooled_by(Some(Pooling::Cls)).unwrap();
        assert_eq!(
            (asked.pooling, asked.pooling_from),
            (Pooling::Cls, PoolingFrom::Caller)
        );
        assert_eq!(s.pooled_by(None).unwrap().pooling_from, PoolingFrom::Guess);
        let dense = r#"[{"type": "a.Pooling"}, {"type": "a.Dense"}]"#;
        let dense = settings(&[("modules.json", dense)]).unwrap();
        assert!(dense.pooled_by(Some(Pooling::Cls)).is_err());
    }

    #[test]
    fn padding_and_lower_case() {
        let pad = |config: &str| settings(&[("config.json", config)]).unwrap().pad_token_id;
        assert_eq!(pad(r#"{"pad_token_id": 1, "vocab_size": 2}"#), 1);
        for none in [
            r#"{"pad_token_id": 2, "vocab_size": 2}"#,
            r#"{"pad_token_id": -1}"#,
            "{}",
        ] {
            assert_eq!(pad(none), 0, "{none}");
        }
        let lower = r#"{"do_lower_case": true, "max_seq_length": null}"#;
        assert!(
            settings(&[("sentence_bert_config.json", lower)])
                .unwrap()
                .lower_case
        );
        assert!(!settings(&[]).unwrap().lower_case);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let s = settings(&[("config.json", "\u{feff}{\"hidden_size\": 8}")]).unwrap();
        assert_eq!(s.hidden_size, Some(8));
    }

    #[test]
    fn the_default_prompt_must_be_one_of_the_prompts() {
        let prompts = |json: &str| settings(&[(SENTENCE_TRANSFORMERS, json)]).map(|s| s.prompts);
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

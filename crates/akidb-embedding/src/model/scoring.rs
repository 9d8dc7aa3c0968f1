//! Whether a model scores pairs of texts, and how: what its files say, then what it is called.

use akidb_backend::Pooling;
use akidb_models::RepoPath;
use serde::Deserialize;

use super::config::Config;
use super::files::{ModelFiles, SENTENCE_TRANSFORMERS};
use super::modules::{Module, modules};
use crate::error::EmbedError;

/// How a model scores pairs of texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairScoring {
    pub(crate) head: ScoringHead,
    /// Whether its scores are sigmoids of its logits.
    pub(crate) sigmoid: bool,
    /// It does nothing else.
    pub(crate) certain: bool,
    /// No file says so.
    pub(crate) guessed: bool,
}

/// What makes a logit of a pooled state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScoringHead {
    /// The logit of the token "yes" less that of "no", after a template's text.
    YesNo {
        /// The output layer is the table of embeddings.
        tied: bool,
        /// Other tokens than these two.
        tokens: Option<LogitTokens>,
    },
    /// One row, after a template's text.
    OneRow,
    /// A classifier with one label, of a pair.
    Classifier(Classifier),
}

/// The tokens whose logits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct LogitTokens {
    #[serde(rename = "true_token_id")]
    pub(crate) yes: u32,
    #[serde(rename = "false_token_id")]
    pub(crate) no: Option<u32>,
}

/// What config_sentence_transformers.json says of a cross-encoder.
#[derive(Debug, Default, Deserialize)]
struct SentenceTransformers {
    activation_fn: Option<String>,
}

/// The layers of a classifier, by their names in the model's file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classifier {
    pub(crate) pooling: Pooling,
    /// Ahead of the last one; all may stand behind a prefix.
    pub(crate) dense: &'static str,
    pub(crate) activation: Activation,
    /// Of what the activation gives, with its epsilon.
    pub(crate) norm: Option<(&'static str, f32)>,
    pub(crate) last: &'static str,
}

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Tanh,
    Relu,
    GeluErf,
    GeluTanh,
}

impl PairScoring {
    pub(super) fn pooling(&self) -> Pooling {
        match &self.head {
            ScoringHead::YesNo { .. } | ScoringHead::OneRow => Pooling::LastToken,
            ScoringHead::Classifier(classifier) => classifier.pooling,
        }
    }
}

/// What a classifier's architecture ends in.
const CLASSIFIER: &str = "ForSequenceClassification";

/// What the model's files and its name say.
pub(super) fn pair_scoring(
    files: &ModelFiles,
    config: &Config,
) -> Result<Option<PairScoring>, EmbedError> {
    let qwen3 = config.model_type.as_deref() == Some("qwen3");
    if config.architectures.iter().any(|a| a.ends_with(CLASSIFIER)) {
        // As transformers counts them where the file doesn't say.
        let named = config.id2label.as_ref().map(serde_json::Map::len);
        let labels = named.or(config.num_labels).unwrap_or(2);
        let head = match config.model_type.as_deref().unwrap_or_default() {
            _ if labels != 1 => None,
            "qwen3" => Some(ScoringHead::OneRow),
            family => classifier(family, config).map(ScoringHead::Classifier),
        };
        let sigmoid = sigmoid(files, config)?;
        return Ok(head.map(|head| PairScoring {
            head,
            sigmoid,
            certain: true,
            guessed: false,
        }));
    }
    let causal = config.architectures.iter().any(|a| a == "Qwen3ForCausalLM");
    if !qwen3 || !causal {
        return Ok(None);
    }
    if let Some(modules) = modules(files)? {
        let mut modules = modules.iter();
        return match modules.find(|module| module.name() == LOGIT_SCORE) {
            Some(module) => logit_score(files, config, module).map(Some),
            None => Ok(None),
        };
    }
    let name = |part: &str| names(files, config).any(|name| name.contains(part));
    let certain = name("rerank") || tagged(files)?;
    let pools = files.read("1_Pooling/config.json")?.is_some();
    if !certain && (pools || name("embed")) {
        return Ok(None);
    }
    Ok(Some(PairScoring {
        head: ScoringHead::YesNo {
            tied: config.tie_word_embeddings.unwrap_or_default(),
            tokens: None,
        },
        sigmoid: sigmoid(files, config)?,
        certain,
        guessed: false,
    }))
}

/// What follows the transformer of a causal reranker in sentence-transformers.
const LOGIT_SCORE: &str = "LogitScore";

fn logit_score(
    files: &ModelFiles,
    config: &Config,
    module: &Module,
) -> Result<PairScoring, EmbedError> {
    let file = module
        .config()
        .unwrap_or_else(|| "1_LogitScore/config.json".to_owned());
    // No path leaves the model's directory.
    let inside = file.parse::<RepoPath>().is_ok();
    let tokens = match inside {
        true => files.json(&file)?,
        false => None,
    };
    Ok(PairScoring {
        head: ScoringHead::YesNo {
            tied: config.tie_word_embeddings.unwrap_or_default(),
            tokens: Some(tokens.ok_or_else(|| files.missing(&file))?),
        },
        sigmoid: sigmoid(files, config)?,
        certain: true,
        guessed: false,
    })
}

/// The architecture of a classifier that scores no pairs.
pub(super) fn other_classifier(config: &Config) -> Option<String> {
    let mut architectures = config.architectures.iter();
    architectures.find(|a| a.ends_with(CLASSIFIER)).cloned()
}

/// What a model is called, in lower case.
fn names<'a>(files: &'a ModelFiles, config: &'a Config) -> impl Iterator<Item = String> + 'a {
    let directory = files.root().and_then(|root| root.file_name());
    let directory = directory.map(|name| name.to_string_lossy().into_owned());
    let names = config.name_or_path.clone().into_iter().chain(directory);
    let names = names.chain([files.id().to_owned()]);
    // A path's other parts say nothing of it.
    names.map(|name| name.rsplit('/').next().unwrap_or_default().to_lowercase())
}

/// Whether the head of README.md, which the hub reads, has the tags of a reranker.
fn tagged(files: &ModelFiles) -> Result<bool, EmbedError> {
    let Some(readme) = files.read("README.md")? else {
        return Ok(false);
    };
    let readme = String::from_utf8_lossy(&readme);
    let mut lines = readme.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Ok(false);
    }
    let mut head = lines.take_while(|line| line.trim_end() != "---");
    let is_tag = |line: &str| {
        let value = line.trim().trim_start_matches("- ");
        let value = value.strip_prefix("pipeline_tag:").unwrap_or(value);
        let value = value.trim().trim_matches(['"', '\'']);
        ["text-ranking", "reranker", "cross-encoder"].contains(&value)
    };
    Ok(head.any(is_tag))
}

/// Whether scores are sigmoids, as sentence-transformers has it: what the files say, else they are,
/// of one label.
fn sigmoid(files: &ModelFiles, config: &Config) -> Result<bool, EmbedError> {
    let pipeline: SentenceTransformers = files.json(SENTENCE_TRANSFORMERS)?.unwrap_or_default();
    let pipeline = pipeline.activation_fn.as_deref();
    let new = config.sentence_transformers.as_ref();
    let new = new.and_then(|cross_encoder| cross_encoder.activation_fn.as_deref());
    let old = config.sbert_ce_default_activation_function.as_deref();
    let named = pipeline.or(new).or(old);
    let named = named.and_then(|path| path.rsplit('.').next());
    Ok(named != Some("Identity"))
}

/// The classifiers that families have in transformers.
fn classifier(family: &str, config: &Config) -> Option<Classifier> {
    let plain = Classifier {
        pooling: Pooling::Cls,
        dense: "classifier.dense",
        activation: Activation::Tanh,
        norm: None,
        last: "classifier.out_proj",
    };
    Some(match family {
        "bert" => Classifier {
            dense: "bert.pooler.dense",
            last: "classifier",
            ..plain
        },
        "roberta" | "xlm-roberta" | "camembert" | "mpnet" => plain,
        "distilbert" => Classifier {
            dense: "pre_classifier",
            activation: Activation::Relu,
            last: "classifier",
            ..plain
        },
        "modernbert" => {
            let activation = config.classifier_activation.as_deref().unwrap_or("gelu");
            if activation != "gelu" {
                return None;
            }
            let epsilon = config.norm_eps.unwrap_or(1e-5);
            Classifier {
                pooling: match config.classifier_pooling.as_deref() {
                    Some("mean") => Pooling::Mean,
                    _ => Pooling::Cls,
                },
                dense: "head.dense",
                activation: Activation::GeluErf,
                norm: Some(("head.norm", epsilon)),
                last: "classifier",
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoring(files: &[(&str, &str)]) -> Option<PairScoring> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = ModelFiles::at("m".to_owned(), dir.path().to_owned(), None);
        let config = files.json("config.json").unwrap().unwrap_or_default();
        pair_scoring(&files, &config).unwrap()
    }

    fn config(more: &str) -> String {
        format!(r#"{{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]{more}}}"#)
    }

    #[test]
    fn qwen3_is_what_its_name_its_tags_or_its_modules_say() {
        let plain = config("");
        let guess = scoring(&[("config.json", &plain)]).unwrap();
        assert!(!guess.certain && guess.sigmoid);
        let yes_no = ScoringHead::YesNo {
            tied: false,
            tokens: None,
        };
        assert_eq!(guess.head, yes_no);
        let tags = "---\ntags:\n- transformers\npipeline_tag: text-ranking\n---\n# A model";
        let tagged = scoring(&[("config.json", &plain), ("README.md", tags)]).unwrap();
        assert!(tagged.certain);
        let prose = "# A model\npipeline_tag: text-ranking\n";
        let prose = scoring(&[("config.json", &plain), ("README.md", prose)]).unwrap();
        assert!(!prose.certain);
        let named = config(r#", "_name_or_path": "Qwen/Qwen3-Reranker-0.6B""#);
        assert!(scoring(&[("config.json", &named)]).unwrap().certain);
        let embedder = config(r#", "_name_or_path": "Qwen/Qwen3-Embedding-0.6B""#);
        for files in [
            &[("config.json", embedder.as_str())][..],
            &[("config.json", &named), ("modules.json", "[]")],
            &[("config.json", &plain), ("1_Pooling/config.json", "{}")],
        ] {
            assert_eq!(scoring(files), None, "{files:?}");
        }
    }

    #[test]
    fn a_pipeline_names_the_tokens_whose_logits_count() {
        let modules = r#"[{"type": "a.Transformer", "path": ""}, {"type": "b.LogitScore", "path": "1_LogitScore"}]"#;
        let plain = config("");
        let score = |tokens: &str, activation: &str| {
            let activation = format!(r#"{{"activation_fn": "{activation}"}}"#);
            scoring(&[
                ("config.json", &plain),
                ("modules.json", modules),
                ("1_LogitScore/config.json", tokens),
                ("config_sentence_transformers.json", &activation),
            ])
        };
        let tokens = r#"{"true_token_id": 9, "false_token_id": null}"#;
        let found = score(tokens, "torch.nn.modules.linear.Identity").unwrap();
        assert!(found.certain && !found.sigmoid);
        let tokens = Some(LogitTokens { yes: 9, no: None });
        assert_eq!(
            found.head,
            ScoringHead::YesNo {
                tied: false,
                tokens
            }
        );
        let tokens = r#"{"true_token_id": 9, "false_token_id": 2}"#;
        let found = score(tokens, "torch.nn.modules.activation.Sigmoid").unwrap();
        assert!(found.sigmoid);
        let tokens = Some(LogitTokens {
            yes: 9,
            no: Some(2),
        });
        assert_eq!(
            found.head,
            ScoringHead::YesNo {
                tied: false,
                tokens
            }
        );
    }

    #[test]
    fn a_classifier_has_one_label() {
        let bert = |more: &str| {
            let architecture = "BertForSequenceClassification";
            let json =
                format!(r#"{{"model_type": "bert", "architectures": ["{architecture}"]{more}}}"#);
            scoring(&[("config.json", &json)])
        };
        let one = r#", "id2label": {"0": "LABEL_0"}"#;
        assert!(bert(one).unwrap().sigmoid);
        for identity in [
            r#", "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}"#,
            r#", "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity""#,
        ] {
            assert!(!bert(&format!("{one}{identity}")).unwrap().sigmoid);
        }
        assert_eq!(bert(""), None);
        assert_eq!(bert(r#", "id2label": {"0": "no", "1": "yes"}"#), None);
    }
}

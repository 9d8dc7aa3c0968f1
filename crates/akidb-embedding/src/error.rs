//! Everything that can go wrong between a text and its vector.

use std::path::PathBuf;

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_models::ModelId;
use akidb_onnx::{ErrorKind, LfsPointer};
#[cfg(feature = "onnxruntime")]
use akidb_onnxruntime::OnnxRuntimeError;

use crate::hint::Hint;

/// Why a model could not be loaded or a text not embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The model is neither built in, nor a path, nor installed.
    #[error("there is no model {model:?}")]
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// Ids that would work.
        known: Vec<String>,
        /// Whether it can be fetched by this name.
        in_catalog: bool,
        /// What may have been meant.
        similar: Option<String>,
    },
    /// An installed model can't be used.
    #[error(transparent)]
    Store(#[from] akidb_models::Error),
    /// No model was named, none is the default and none is built in.
    #[error("no model is named; installed are: {}", installed.join(", "))]
    ModelNotNamed {
        /// Their ids.
        installed: Vec<String>,
    },
    /// A file exists but can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The model directory lacks a file that is needed.
    #[error("{model} has no {file}")]
    MissingFile {
        /// The model's directory or id.
        model: String,
        /// What is missing.
        file: String,
    },
    /// A file of the model is larger than such a file can sensibly be.
    #[error("{file} has more than the {limit} bytes that are read")]
    FileTooLarge {
        /// The file.
        file: String,
        /// The bound.
        limit: u64,
    },
    /// A JSON file of the model doesn't parse.
    #[error("{file} {}", if source.is_eof() { "is cut off" } else { "is not valid" })]
    Json {
        /// The file.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// tokenizer.json doesn't make a tokenizer, or it failed on a text.
    #[error("{file}: {message}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What the tokenizer library said.
        message: String,
    },
    /// Two files of the model contradict each other, or one holds an impossible value.
    #[error("{file}: {message}")]
    Contradiction {
        /// The file at fault, or the first of two.
        file: String,
        /// What it says and what it contradicts.
        message: String,
    },
    /// The model's ONNX or safetensors file is broken.
    #[error("the model file can't be used")]
    Model(#[from] akidb_onnx::Error),
    /// The model can't be loaded or run.
    #[error("the {backend} backend failed")]
    Backend {
        /// Which one.
        backend: &'static str,
        /// Why.
        source: BackendError,
    },
    /// ONNX Runtime's library or a provider of it can't be used.
    #[cfg(feature = "onnxruntime")]
    #[error("ONNX Runtime can't be used")]
    OnnxRuntime(#[source] OnnxRuntimeError),
    /// A file of settings for ONNX Runtime can't be used.
    #[cfg(feature = "onnxruntime")]
    #[error("{} can't be used", path.display())]
    OnnxRuntimeConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// The program was built without a part of the library that this needs.
    #[error(
        "{what} needs the cargo feature {feature} of akidb-embedding, which this program lacks"
    )]
    FeatureMissing {
        /// What was asked for.
        what: String,
        /// What it is a part of.
        feature: &'static str,
    },
    /// No backend can run the model.
    #[error("no backend can run this model")]
    NoBackend {
        /// Why the native engine can't.
        native: String,
        /// Why ONNX Runtime can't, where it was tried.
        onnxruntime: Option<String>,
        /// Why RTen can't.
        source: BackendError,
    },
    /// The model directory holds no weights at all.
    #[error("{directory} holds no weights")]
    NoWeights {
        /// The directory.
        directory: String,
    },
    /// The model directory holds no file of the wanted variant.
    #[error("{model} has no variant {variant:?}")]
    UnknownVariant {
        /// The model's directory or id.
        model: String,
        /// What was asked for.
        variant: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An environment variable holds something that can't be used.
    #[error("{name}={value}: {why}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The wanted precision or backend doesn't exist for this model.
    #[error("{0}")]
    Unsupported(String),
    /// The backend doesn't compute the model's file in this arithmetic.
    #[error("{backend} computes this file in {computes}, not in {wanted}")]
    Precision {
        /// Which one.
        backend: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What it does.
        computes: &'static str,
    },
    /// A vector can't be cut to this length.
    #[error("dimension {requested} is not possible: {allowed}")]
    Dimension {
        /// What was asked for.
        requested: usize,
        /// What is possible.
        allowed: String,
    },
    /// The model has no prompt of that name.
    #[error("the model has no prompt {name:?}")]
    UnknownPrompt {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model's query prompt has no place for a task.
    #[error("the model takes no instruction: its query prompt has no \"Instruct: \" line")]
    NoInstruction,
    /// A task is named for texts that are no queries.
    #[error("an instruction is for queries, not for documents")]
    InstructionForDocuments,
    /// A text is longer than allowed and truncation was declined.
    #[error("the text at index {index} is longer than {limit} tokens")]
    TooLong {
        /// Position in the call, from 0.
        index: usize,
        /// The limit in tokens, special tokens included.
        limit: usize,
    },
    /// The limit leaves no room for the special tokens and at least one of the text.
    #[error("a limit of {limit} tokens is out of range: {least} to {most} are possible")]
    TokenLimit {
        /// What was asked for.
        limit: usize,
        /// Least that works.
        least: usize,
        /// The model's own limit.
        most: usize,
    },
    /// An input of token ids can't be used.
    #[error("the input at index {index}: {message}")]
    InvalidTokens {
        /// Position in the call, from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
    /// The model scores pairs of texts and makes no vectors.
    #[error("{model} is a reranker: it scores documents for a query, and makes no vectors")]
    NotAnEmbedder {
        /// Its id.
        model: String,
    },
    /// The model makes vectors and scores no pairs by itself.
    #[error("{model} is an embedding model: it scores documents by cosine, not by itself")]
    NotAReranker {
        /// Its id.
        model: String,
    },
    /// The chat template among a model's files makes no text of a pair that can be used.
    #[error("{file}: {message}")]
    ChatTemplate {
        /// The file.
        file: String,
        /// Why.
        message: String,
    },
    /// A query leaves no room for a document.
    #[error(
        "the query is too long: a pair may have {limit} tokens, and a document needs one of them"
    )]
    QueryTooLong {
        /// The limit of a pair in tokens, special tokens and the model's own words included.
        limit: usize,
    },
    /// The model overflowed on a text.
    #[error("the vector of the text at index {index} is not finite{}", note(.encoding))]
    NotFinite {
        /// Position in the call, from 0.
        index: usize,
        /// Set when the vector is finite, but not in this encoding.
        encoding: Option<&'static str>,
    },
}

/// What is wrong with a file of settings.
#[cfg(feature = "onnxruntime")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It isn't JSON, or has an unknown key or value.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It names an unknown provider or option.
    #[error(transparent)]
    OnnxRuntime(#[from] OnnxRuntimeError),
}

fn note(encoding: &Option<&'static str>) -> String {
    encoding.map_or_else(String::new, |e| format!(" in {e}"))
}

impl EmbedError {
    /// The same error with text positions counted from `first` on, for callers that split a long
    /// input over several calls.
    pub fn counted_from(mut self, first: usize) -> Self {
        if let Self::TooLong { index, .. }
        | Self::InvalidTokens { index, .. }
        | Self::NotFinite { index, .. } = &mut self
        {
            *index += first;
        }
        self
    }

    /// What the caller can do about it, where that is known.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::ModelNotFound {
                model,
                in_catalog: true,
                ..
            } => Hint::Pull {
                model: model.clone(),
            },
            Self::Store(error) => return error.hint().map(Hint::Other),
            Self::ModelNotFound {
                model,
                known,
                similar,
                ..
            } => {
                // A path that isn't there may look like an id of the hub, too.
                let may_be_there = model.contains('/') && model.parse::<ModelId>().is_ok();
                Hint::Name {
                    known: known.clone(),
                    on_hub: may_be_there.then(|| model.clone()),
                    similar: similar.clone(),
                }
            }
            Self::ModelNotNamed { .. } => Hint::NameOne,
            Self::Backend { source, .. } if source.kind() == BackendErrorKind::SeveralOutputs => {
                Hint::NameOutput
            }
            Self::NoWeights { .. } => {
                "a model directory needs model.onnx, onnx/model*.onnx or model.safetensors".into()
            }
            Self::NoBackend {
                native,
                onnxruntime,
                ..
            } => match onnxruntime {
                Some(reason) => format!(
                    "the native engine can't either: {native}; nor can ONNX Runtime: {reason}"
                ),
                None => format!(
                    "the native engine can't either: {native}; with an ONNX Runtime library \
                     (pip install onnxruntime) there is one backend more"
                ),
            }
            .into(),
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntime(error) => return error.hint().map(Hint::Other),
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntimeConfig { source, .. } => match &**source {
                ConfigError::OnnxRuntime(error) => return error.hint().map(Hint::Other),
                ConfigError::Json(_) => {
                    "it is a JSON object with the keys library, provider, provider_options, session"
                        .into()
                }
            },
            Self::Read { source, .. } if LfsPointer::is_in(source) => {
                "run git lfs pull in the model's directory".into()
            }
            Self::Json { source, .. } if source.is_eof() => {
                "it was not fetched whole: fetch the model again".into()
            }
            Self::Model(error) if matches!(error.kind(), ErrorKind::LfsPointer(_)) => {
                "run git lfs pull in the model's directory".into()
            }
            Self::Model(_) => Hint::Inspect,
            Self::UnknownVariant { known, .. } | Self::UnknownPrompt { known, .. } => {
                format!("it has: {}", known.join(", ")).into()
            }
            Self::MissingFile { .. } => {
                "a model directory needs the files of its Hugging Face repository".into()
            }
            Self::Precision { .. } => {
                "only the native engine has a choice: leave the precision or the backend out, or name \
                 another variant of the model"
                    .into()
            }
            Self::ChatTemplate { .. } => {
                "ask the model's publisher for a template that renders messages of the roles query and \
                 document, or take the file away: pairs then have the text that Qwen3-Reranker's \
                 authors publish"
                    .into()
            }
            Self::NoInstruction => "leave the instruction out, or use a model that takes one".into(),
            Self::TooLong { .. } => Hint::AllowTruncation,
            Self::NotFinite { encoding: None, .. } => {
                "the weights may be damaged, or the precision too low for this model".into()
            }
            Self::NotFinite { .. } => "normalise, or ask for f32".into(),
            _ => return None,
        })
    }
}

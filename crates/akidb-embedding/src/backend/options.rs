//! What a caller says of how a model runs, and what every backend gives back.

use std::path::PathBuf;

use akidb_backend::{Backend, BackendError, BackendErrorKind, Pooling, choice};
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
use akidb_graph::{GraphOptions, OutputChoice};
use akidb_native::Precision;
use akidb_transformer::ScoreLayer;

use super::onnxruntime_config::OnnxRuntimeConfig;
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
use crate::model::PoolingFrom;
use crate::model::Settings;

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The native engine where it knows the model. Else ONNX Runtime, the faster of the other two,
    /// where a library of it is found and can load the model, else RTen. A
    /// [provider](crate::EmbedderBuilder::provider) that is named means ONNX Runtime, and so do
    /// files that were written for CoreML. The answer says what ran and why.
    #[default]
    Auto,
    /// The native engine or an error.
    Native,
    /// RTen or an error.
    Rten,
    /// ONNX Runtime or an error.
    OnnxRuntime,
}

choice!(BackendChoice, "backend",
    Auto = "auto": "The native engine where it knows the model, else ONNX Runtime where its library is found, \
                    else RTen",
    Native = "native": "The native engine",
    Rten = "rten": "RTen, for any ONNX embedding model",
    OnnxRuntime = "onnxruntime": "ONNX Runtime, for any ONNX embedding model, with the library that is \
                                  installed",
);

#[derive(Debug, Clone, Default)]
pub(crate) struct BackendOptions {
    pub(crate) backend: BackendChoice,
    pub(crate) threads: Option<usize>,
    pub(crate) precision: Precision,
    pub(crate) pooling: Option<Pooling>,
    /// Name of the graph's output to take.
    pub(crate) output: Option<String>,
    pub(crate) no_prefix_cache: bool,
    /// Directory of packed weights, if any; without an answer, the one that the environment names.
    pub(crate) packed_cache: Option<Option<PathBuf>>,
    pub(crate) onnxruntime: OnnxRuntimeConfig,
}

/// A backend with a model in it.
pub(crate) struct Loaded {
    pub(crate) backend: Box<dyn Backend>,
    /// Why it is not the preferred one.
    pub(crate) fallback: Option<String>,
    /// What its rows are to a reranker.
    pub(crate) head_input: HeadInput,
}

/// What a reranker's head is given.
#[derive(Debug, Clone)]
pub(crate) enum HeadInput {
    /// Hidden states; the layers that make logits of them, where a graph has them.
    States(Option<Vec<ScoreLayer>>),
    /// What the graph has made of them.
    Logits,
}

impl Loaded {
    pub(super) fn preferred(backend: Box<dyn Backend>) -> Self {
        Self {
            backend,
            fallback: None,
            head_input: HeadInput::States(None),
        }
    }

    /// The same, run as a whole: a reranker's graph ends in logits.
    pub(super) fn of_graph(self, settings: &Settings) -> Self {
        match settings.is_reranker() {
            true => Self {
                head_input: HeadInput::Logits,
                ..self
            },
            false => self,
        }
    }
}

/// The error of another backend than ONNX Runtime for graphs of fixed shapes.
pub(crate) fn for_onnxruntime(backend: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::UnsupportedModel,
        format!("{backend} doesn't run graphs that were written for CoreML: ONNX Runtime does"),
    )
}

/// Longest text that RTen and ONNX Runtime are given. They hold all attention scores of a layer at
/// once: 1 GB for 16 heads at this length, four times that at twice the length.
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
const GRAPH_MAX_TOKENS: usize = 4096;

/// What the engines that run graphs as a whole are told of a model.
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
pub(crate) fn graph_options(settings: &Settings, options: &BackendOptions) -> GraphOptions {
    let output = match (&options.output, &settings.after_pooling) {
        (Some(name), _) => OutputChoice::Named(name.clone()),
        (None, _) if settings.is_reranker() => OutputChoice::Scores,
        (None, Some(after)) => OutputChoice::Pooled {
            module: after.module.clone(),
        },
        (None, None) if settings.pooling_from == PoolingFrom::Caller => OutputChoice::HiddenStates,
        (None, None) => OutputChoice::Likely,
    };
    GraphOptions {
        output,
        max_tokens: settings.max_tokens.map(|n| n.min(GRAPH_MAX_TOKENS)),
        // Logits have another width.
        hidden_size: settings.hidden_size.filter(|_| !settings.is_reranker()),
        head_dim: settings.head_dim,
        pad_token_id: settings.pad_token_id,
        ..GraphOptions::new(settings.pooling)
    }
}

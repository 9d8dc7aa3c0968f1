//! What can go wrong here, before it becomes a [`BackendError`].

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_kernels::ShapeError;

use crate::runnable::NotRunnable;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("{key} {value} {why}")]
    Config {
        key: &'static str,
        value: usize,
        why: &'static str,
    },
    #[error("the native engine can't run this model: {0}")]
    Unsupported(#[from] NotRunnable),
    #[error("tensor \"{name}\" has shape {actual:?}, expected {expected:?}")]
    TensorShape {
        name: String,
        expected: Vec<usize>,
        actual: Vec<usize>,
    },
    #[error("tensor \"{name}\" holds {value} at element {element}")]
    NotFinite {
        name: String,
        element: usize,
        value: f32,
    },
    #[error("can't read a weight")]
    Tensor(#[from] akidb_onnx::Error),
    #[error("can't start {threads} threads")]
    Threads {
        threads: usize,
        source: rayon::ThreadPoolBuildError,
    },

    #[error("text {text} has no tokens")]
    EmptyText { text: usize },
    #[error("text {text} has {tokens} tokens, the model takes {max}")]
    TooLong {
        text: usize,
        tokens: usize,
        max: usize,
    },
    #[error("text {text} has a second segment, the model has one token type")]
    SecondSegment { text: usize },
    #[error("text {text} has token id {id}, the vocabulary ends at {vocab_size}")]
    TokenId {
        text: usize,
        id: u32,
        vocab_size: usize,
    },
    #[error(
        "the output has room for {actual} values, {rows} states of {hidden_size} were asked for"
    )]
    Output {
        actual: usize,
        rows: usize,
        hidden_size: usize,
    },

    #[error("the model's vectors have another width than the states of its tokens")]
    StatesOfOtherWidth,
    #[error("the weights can't be read any more")]
    Changed(#[source] akidb_onnx::Error),
    #[error("a block lacks a product")]
    Products,
    #[error("another thread failed")]
    Stopped,
    #[error("sizes inside the engine contradict each other")]
    Shape(#[from] ShapeError),
}

impl From<EngineError> for BackendError {
    fn from(error: EngineError) -> Self {
        use EngineError as E;
        let kind = match &error {
            E::Config { .. } | E::TensorShape { .. } | E::NotFinite { .. } | E::Tensor(_) => {
                BackendErrorKind::InvalidModel
            }
            E::Unsupported(_) | E::StatesOfOtherWidth => BackendErrorKind::UnsupportedModel,
            E::EmptyText { .. }
            | E::TooLong { .. }
            | E::SecondSegment { .. }
            | E::TokenId { .. }
            | E::Output { .. } => BackendErrorKind::InvalidInput,
            E::Changed(_) | E::Threads { .. } | E::Products | E::Stopped | E::Shape(_) => {
                BackendErrorKind::Failed
            }
        };
        let message = error.to_string();
        match error {
            E::Tensor(source) | E::Changed(source) => {
                BackendError::new(kind, message).with_source(source)
            }
            E::Threads { source, .. } => BackendError::new(kind, message).with_source(source),
            E::Shape(source) => BackendError::new(kind, message).with_source(source),
            _ => BackendError::new(kind, message),
        }
    }
}

//! What keeps a pack from being used.

use std::io;

use akidb_kernels::ShapeError;

use crate::error::EngineError;

/// Why a pack is not used, or not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("there is none")]
    Missing,
    #[error("{0}")]
    NotTrusted(String),
    #[error("{0}")]
    Map(akidb_onnx::Error),
    #[error("it is cut off")]
    CutOff,
    #[error("it has another format")]
    Format,
    #[error("its {0} is damaged")]
    Damaged(&'static str),
    #[error("it was made of other files, or by another version")]
    Identity,
    #[error("it has other weights: {0}")]
    Shape(#[from] ShapeError),
    #[error("{0}")]
    Hash(#[from] EngineError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

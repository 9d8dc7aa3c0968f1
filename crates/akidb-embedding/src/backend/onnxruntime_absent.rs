//! A program without ONNX Runtime.

use super::options::{BackendOptions, Loaded};
use crate::error::EmbedError;
use crate::model::{Settings, Weights};

pub(crate) fn load(_: &Weights, _: &Settings, _: &BackendOptions) -> Result<Loaded, EmbedError> {
    Err(EmbedError::FeatureMissing {
        what: "ONNX Runtime".to_owned(),
        feature: "onnxruntime",
    })
}

/// `None`: nothing was tried.
pub(crate) fn load_if_possible(
    _: &Weights,
    _: &Settings,
    _: &BackendOptions,
) -> Result<Result<Loaded, Option<String>>, EmbedError> {
    Ok(Err(None))
}

//! A program without ONNX Runtime.

use std::path::Path;

use akidb_onnx::model::OnnxModel;

use crate::backend::{BackendOptions, Loaded};
use crate::error::EmbedError;
use crate::model::{Settings, Weights};

/// None: nothing here reads files for CoreML.
pub(crate) fn coreml_graphs(_: &Path) -> Result<Vec<OnnxModel>, akidb_onnx::Error> {
    Ok(Vec::new())
}

/// Nothing can be chosen.
#[derive(Debug, Clone, Default)]
pub(crate) struct OnnxRuntimeConfig;

impl OnnxRuntimeConfig {
    pub(crate) fn names_a_provider(&self) -> bool {
        false
    }
}

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

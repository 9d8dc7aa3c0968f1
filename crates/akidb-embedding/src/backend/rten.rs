//! The RTen backend.

use std::num::NonZeroUsize;

use akidb_backend::{Backend, BackendError, BackendErrorKind};
use akidb_rten::{RtenModel, RtenOptions};

use super::options::{BackendOptions, for_onnxruntime, graph_options};
use crate::error::EmbedError;
use crate::model::{Settings, Weights, WeightsSource};

/// RTen, or why it can't load a model that another backend may run.
pub(crate) fn load(
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
) -> Result<Result<Box<dyn Backend>, BackendError>, EmbedError> {
    let rten = RtenOptions {
        graph: graph_options(settings, options),
        threads: options.threads.and_then(NonZeroUsize::new),
        // Short texts run several times faster, for a second copy of the weights.
        prepack_weights: true,
    };
    let model = match &weights.source {
        WeightsSource::Onnx(path) => RtenModel::load(path, rten),
        WeightsSource::OnnxBytes(bytes) => RtenModel::from_static(bytes, rten),
        WeightsSource::Safetensors(_) => Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            "RTen runs ONNX files, not safetensors",
        )),
        WeightsSource::CoreMl(_) => Err(for_onnxruntime("RTen")),
    };
    match model {
        Ok(model) => Ok(Ok(Box::new(model))),
        Err(e) if e.kind() == BackendErrorKind::UnsupportedModel => Ok(Err(e)),
        Err(source) => Err(EmbedError::Backend {
            backend: "rten",
            source,
        }),
    }
}

//! The ONNX Runtime backend: which library, which provider, which settings.
//!
//! ```no_run
//! use akidb_embedding::{BackendChoice, Embedder};
//! use akidb_embedding::onnxruntime::{Provider, ProviderChoice};
//!
//! let provider = Provider::new("coreml", [("ml_compute_units", "cpu_and_neural_engine")])?;
//! let embedder = Embedder::builder()
//!     .model("path/to/model")
//!     .backend(BackendChoice::OnnxRuntime)
//!     .provider(ProviderChoice::Named(provider))
//!     .build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::num::NonZeroUsize;
use std::path::PathBuf;

use akidb_backend::{BackendError, BackendErrorKind};

use super::options::{BackendOptions, Loaded, graph_options};
use crate::env;
use crate::error::EmbedError;
use crate::model::{Settings, Weights, WeightsSource};

pub use super::onnxruntime_config::OnnxRuntimeConfig;

pub use akidb_onnxruntime::{
    ArenaExtendStrategy, CoreMlOptions, CudaOptions, CudnnConvAlgoSearch, DeviceFilter,
    DirectMlOptions, Library, LibraryError, LibraryProblem, MlComputeUnits, ModelFormat,
    OnnxRuntimeError, OpenVinoOptions, Optimization, PerformancePreference, PluginOptions,
    Provider, ProviderChoice, SessionOptions, SpecializationStrategy, TensorRtOptions,
    XnnpackOptions,
};
use akidb_onnxruntime::{OnnxRuntimeModel, OnnxRuntimeOptions, StaticShapeModel};

/// The library that a model would be run with: `named`, else as
/// [`EmbedderBuilder::onnxruntime_library`](crate::EmbedderBuilder::onnxruntime_library) says.
///
/// # Errors
/// When there is none that can be used.
pub fn library(named: Option<PathBuf>) -> Result<&'static Library, OnnxRuntimeError> {
    Library::find(&env::onnxruntime_search(named))
}

/// The model in ONNX Runtime.
pub(crate) fn load(
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
) -> Result<Loaded, EmbedError> {
    run(weights, settings, options).map_err(failed)
}

/// The model in ONNX Runtime, or why another backend is to run it: `None` when there is no library.
pub(crate) fn load_if_possible(
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
) -> Result<Result<Loaded, Option<String>>, EmbedError> {
    match run(weights, settings, options) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(OnnxRuntimeError::NoLibrary { unusable }) if unusable.is_empty() => Ok(Err(None)),
        Err(error @ OnnxRuntimeError::NoLibrary { .. }) => Ok(Err(Some(error.to_string()))),
        Err(OnnxRuntimeError::Model(e)) if e.kind() == BackendErrorKind::UnsupportedModel => {
            Ok(Err(Some(e.to_string())))
        }
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: OnnxRuntimeError) -> EmbedError {
    match error {
        OnnxRuntimeError::Model(source) => EmbedError::Backend {
            backend: "onnxruntime",
            source,
        },
        other => EmbedError::OnnxRuntime(other),
    }
}

fn run(
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
) -> Result<Loaded, OnnxRuntimeError> {
    let choice = &options.onnxruntime;
    let model = OnnxRuntimeOptions {
        graph: graph_options(settings, options),
        provider: choice.provider.clone(),
        threads: options.threads.and_then(NonZeroUsize::new),
        session: choice.session,
    };
    let library = || library(choice.library.clone());
    let any = |model: OnnxRuntimeModel| Loaded {
        fallback: model.fallback().map(str::to_owned),
        ..Loaded::preferred(Box::new(model))
    };
    match &weights.source {
        WeightsSource::Safetensors(_) => Err(OnnxRuntimeError::Model(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            "ONNX Runtime runs ONNX files, not safetensors",
        ))),
        WeightsSource::Onnx(path) => OnnxRuntimeModel::load(library()?, path, &model).map(any),
        WeightsSource::OnnxBytes(bytes) => {
            OnnxRuntimeModel::from_static(library()?, bytes, &model).map(any)
        }
        WeightsSource::CoreMl(manifest) => {
            let model = StaticShapeModel::load(library()?, manifest, &model)?;
            Ok(Loaded {
                fallback: model.fallback().map(str::to_owned),
                ..Loaded::preferred(Box::new(model))
            })
        }
    }
}

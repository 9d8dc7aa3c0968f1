//! Which backend runs a model, and why.

mod native;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(not(feature = "onnxruntime"))]
#[path = "onnxruntime_absent.rs"]
mod onnxruntime;
#[cfg(feature = "onnxruntime")]
mod onnxruntime_config;
#[cfg(not(feature = "onnxruntime"))]
#[path = "onnxruntime_config_absent.rs"]
mod onnxruntime_config;
mod options;
#[cfg(feature = "rten")]
mod rten;
#[cfg(not(feature = "rten"))]
#[path = "rten_absent.rs"]
mod rten;

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_kernels::Isa;

use crate::env;
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings, Weights, WeightsSource};

pub(crate) use options::{BackendOptions, HeadInput, Loaded};

pub use akidb_native::Precision;
pub use options::BackendChoice;

/// Whether this CPU multiplies bf16 faster than f32, so that f16 files need no quantisation.
pub fn has_bf16() -> bool {
    Isa::detect().has_bf16()
}

/// Loads a model into the backend that `options` choose.
pub(crate) fn load(
    files: &ModelFiles,
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
) -> Result<Loaded, EmbedError> {
    if options.threads == Some(0) {
        return Err(EmbedError::Unsupported(
            "0 threads can't run anything".to_owned(),
        ));
    }
    let isa = forced_isa()?;
    let for_coreml = matches!(weights.source, WeightsSource::CoreMl(_));
    let choice = match (options.backend, options.onnxruntime.names_a_provider()) {
        (BackendChoice::Auto, named) if named || for_coreml => BackendChoice::OnnxRuntime,
        (BackendChoice::Native | BackendChoice::Rten, true) => {
            return Err(EmbedError::Unsupported(
                "a provider is a part of ONNX Runtime: the chosen backend has none".to_owned(),
            ));
        }
        (choice, _) => choice,
    };
    match choice {
        BackendChoice::Rten => {
            let backend = rten::load(weights, settings, options)?;
            let backend = backend.map_err(|source| EmbedError::Backend {
                backend: "rten",
                source,
            })?;
            as_wanted(
                Loaded::preferred(backend).of_graph(settings),
                options.precision,
            )
        }
        BackendChoice::Native => {
            let backend = native::load(files, weights, settings, options, isa)?;
            let backend = backend.map_err(|reason| EmbedError::Backend {
                backend: "native",
                source: BackendError::new(BackendErrorKind::UnsupportedModel, reason),
            })?;
            Ok(backend)
        }
        BackendChoice::OnnxRuntime => {
            let loaded = onnxruntime::load(weights, settings, options)?;
            as_wanted(loaded.of_graph(settings), options.precision)
        }
        BackendChoice::Auto => match native::load(files, weights, settings, options, isa)? {
            Ok(loaded) => Ok(loaded),
            Err(reason) => {
                let loaded = graph_engine(weights, settings, options, reason);
                Ok(loaded?.of_graph(settings))
            }
        },
    }
}

/// Refuses arithmetic that RTen and ONNX Runtime, which compute as the file says, don't do.
fn as_wanted(loaded: Loaded, precision: Precision) -> Result<Loaded, EmbedError> {
    let info = loaded.backend.info();
    if precision == Precision::Auto || info.precision == precision.as_str() {
        return Ok(loaded);
    }
    Err(EmbedError::Precision {
        backend: info.backend,
        wanted: precision.as_str(),
        computes: info.precision,
    })
}

/// The CPU tier that the environment names.
pub(crate) fn forced_isa() -> Result<Option<Isa>, EmbedError> {
    let Some(value) = env::AKIDB_ISA.get() else {
        return Ok(None);
    };
    match value.parse::<Isa>() {
        Ok(isa) => Ok(Some(isa)),
        Err(e) => Err(EmbedError::Environment {
            name: env::AKIDB_ISA.name,
            value,
            why: e.to_string(),
        }),
    }
}

/// ONNX Runtime or RTen for a model that the native engine doesn't run, by `native`.
fn graph_engine(
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
    native: String,
) -> Result<Loaded, EmbedError> {
    let why = format!("the native engine doesn't run this model ({native})");
    let onnxruntime = match onnxruntime::load_if_possible(weights, settings, options)? {
        Ok(Loaded {
            backend, fallback, ..
        }) => {
            let provider = fallback.map(|reason| format!("; {reason}"));
            let provider = provider.unwrap_or_default();
            return Ok(Loaded {
                fallback: Some(format!("{why}: ONNX Runtime does{provider}")),
                ..Loaded::preferred(backend)
            });
        }
        Err(reason) => reason,
    };
    if !cfg!(feature = "rten") {
        return Err(EmbedError::FeatureMissing {
            what: format!("a model that the native engine doesn't run ({native})"),
            feature: match cfg!(feature = "onnxruntime") {
                true => "rten",
                false => "rten or onnxruntime",
            },
        });
    }
    match rten::load(weights, settings, options)? {
        Ok(backend) => Ok(Loaded {
            fallback: Some(match &onnxruntime {
                Some(reason) => format!("{why}, nor can ONNX Runtime ({reason}): RTen does"),
                None => format!("{why}: RTen does"),
            }),
            ..Loaded::preferred(backend)
        }),
        Err(source) => Err(EmbedError::NoBackend {
            native,
            onnxruntime,
            source,
        }),
    }
}

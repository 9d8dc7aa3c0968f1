//! Which backend runs a model, and why.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use akidb_backend::{Backend, BackendError, BackendErrorKind, Pooling, choice};
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
use akidb_graph::{GraphOptions, OutputChoice};
use akidb_kernels::Isa;
use akidb_models::external_files;
use akidb_native::{Engine, EngineOptions, PackedCache, SourceFile};
use akidb_onnx::ErrorKind;
use akidb_onnx::model::OnnxModel;
use akidb_transformer::{Head, Transformer, from_onnx, from_safetensors};
use bytes::Bytes;

use crate::env;
use crate::error::EmbedError;
use crate::model::{ModelFiles, PoolingFrom, Settings, Source, Weights};
use crate::onnxruntime::{self, OnnxRuntimeConfig};
use crate::rten;

pub use akidb_native::Precision;

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The native engine where it knows the model, save for an encoder with quantised weights. Else
    /// ONNX Runtime, the faster of the other two, where a library of it is found and can load the
    /// model, else RTen. A
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
    Auto = "auto": "The native engine where it knows the model (save for encoders with quantised weights), \
                    else ONNX Runtime where its library is found, else RTen",
    Native = "native": "The native engine",
    Rten = "rten": "RTen, for any ONNX embedding model",
    OnnxRuntime = "onnxruntime": "ONNX Runtime, for any ONNX embedding model, with the library that is \
                                  installed",
);

/// Whether this CPU multiplies bf16 faster than f32, so that f16 files need no quantisation.
pub fn has_bf16() -> bool {
    Isa::detect().has_bf16()
}

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
}

impl Loaded {
    fn preferred(backend: Box<dyn Backend>) -> Self {
        Self {
            backend,
            fallback: None,
        }
    }
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
    let for_coreml = matches!(weights.source, Source::CoreMl(_));
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
            as_wanted(Loaded::preferred(backend), options.precision)
        }
        BackendChoice::Native => {
            let backend = native(files, weights, settings, options, isa)?;
            let backend = backend.map_err(|reason| EmbedError::Backend {
                backend: "native",
                source: BackendError::new(BackendErrorKind::UnsupportedModel, reason),
            })?;
            Ok(Loaded::preferred(backend))
        }
        BackendChoice::OnnxRuntime => {
            let loaded = onnxruntime::load(weights, settings, options)?;
            as_wanted(loaded, options.precision)
        }
        BackendChoice::Auto => match native(files, weights, settings, options, isa)? {
            Ok(backend) => Ok(Loaded::preferred(backend)),
            Err(reason) => graph_engine(weights, settings, options, reason),
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
        Ok(Loaded { backend, fallback }) => {
            let provider = fallback.map(|reason| format!("; {reason}"));
            let provider = provider.unwrap_or_default();
            return Ok(Loaded {
                fallback: Some(format!("{why}: ONNX Runtime does{provider}")),
                backend,
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
            backend,
        }),
        Err(source) => Err(EmbedError::NoBackend {
            native,
            onnxruntime,
            source,
        }),
    }
}

/// The native engine, or why it doesn't know a model that may be sound.
fn native(
    files: &ModelFiles,
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
    isa: Option<Isa>,
) -> Result<Result<Box<dyn Backend>, String>, EmbedError> {
    let (mut model, sources) = match model(files, weights, settings) {
        Ok(found) => found,
        Err(EmbedError::Model(e))
            if matches!(
                e.kind(),
                ErrorKind::NotRecognised { .. }
                    | ErrorKind::Unsupported { .. }
                    | ErrorKind::UnsupportedModel(_)
            ) =>
        {
            return Ok(Err(e.to_string()));
        }
        Err(e) => return Err(e),
    };
    if let Some(reason) = other_head(settings, options) {
        return Ok(Err(reason));
    }
    if options.backend == BackendChoice::Auto && model.is_encoder() && model.is_quantized() {
        let reason = "an encoder's quantised weights are left to others unless it is named";
        return Ok(Err(reason.to_owned()));
    }
    model.head = match settings.pooling {
        Pooling::LastToken => Head::LastToken,
        Pooling::Cls => Head::FirstToken,
        Pooling::Mean => Head::Mean,
    };
    let directory = options.packed_cache.clone();
    let directory = directory.unwrap_or_else(env::packed_weights_directory);
    let options = EngineOptions {
        threads: options.threads.and_then(NonZeroUsize::new),
        isa,
        precision: options.precision,
        no_prefix_cache: options.no_prefix_cache,
        packed_cache: directory
            .zip(sources)
            .map(|(directory, sources)| PackedCache::new(directory, sources)),
    };
    match Engine::new(&model, options) {
        Ok(engine) => Ok(Ok(Box::new(engine))),
        Err(e) if e.kind() == BackendErrorKind::UnsupportedModel => Ok(Err(e.to_string())),
        Err(source) => Err(EmbedError::Backend {
            backend: "native",
            source,
        }),
    }
}

/// Why the native engine can't make vectors of hidden states as is wanted.
fn other_head(settings: &Settings, options: &BackendOptions) -> Option<String> {
    if let Some(output) = &options.output {
        return Some(format!("it takes no output by name, as {output:?} is"));
    }
    if let Some(after) = &settings.after_pooling {
        let module = &after.module;
        return Some(format!(
            "it has no module {module}, which follows the model's pooling"
        ));
    }
    None
}

/// A model, and the files that it comes from, unless a change of these couldn't be seen.
fn model(
    files: &ModelFiles,
    weights: &Weights,
    settings: &Settings,
) -> Result<(Transformer, Option<Vec<SourceFile>>), EmbedError> {
    let config = files.model_config()?;
    // Each file is looked at before it is opened, so that it isn't newer than what is read.
    match &weights.source {
        Source::Onnx(path) => {
            let file = SourceFile::new(path);
            let model = OnnxModel::open(path)?;
            let sources = source_files(file, &external_files(path, &model));
            check_pooling(&model, settings)?;
            Ok((from_onnx(&model, config.as_ref())?, sources))
        }
        Source::OnnxBytes(bytes) => {
            let model = OnnxModel::from_bytes(Bytes::from_static(bytes))?;
            check_pooling(&model, settings)?;
            Ok((from_onnx(&model, config.as_ref())?, None))
        }
        Source::Safetensors(path) => {
            let config = config.ok_or_else(|| files.missing("config.json"))?;
            let file = SourceFile::new(path);
            let shards = weights.files.split_last().map(|(_, shards)| shards);
            let sources = source_files(file, shards.unwrap_or_default());
            Ok((from_safetensors(path, &config)?, sources))
        }
        Source::CoreMl(_) => Err(EmbedError::Backend {
            backend: "native",
            source: for_onnxruntime("the native engine"),
        }),
    }
}

/// Refuses to guess how states are pooled where the graph knows.
fn check_pooling(model: &OnnxModel, settings: &Settings) -> Result<(), akidb_onnx::Error> {
    let mut outputs = model.outputs().iter();
    let pools = outputs.any(|output| output.name() == "sentence_embedding");
    if pools && settings.pooling_from == PoolingFrom::Guess {
        let why = "no file but the graph says how the model pools";
        return Err(ErrorKind::UnsupportedModel(why.to_owned()).into());
    }
    Ok(())
}

/// A file and those that belong to it; `None` where a change of one couldn't be seen.
fn source_files(file: io::Result<SourceFile>, others: &[PathBuf]) -> Option<Vec<SourceFile>> {
    let others = others.iter().map(|other| SourceFile::new(other));
    std::iter::once(file)
        .chain(others)
        .collect::<Result<_, _>>()
        .ok()
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
        (None, Some(after)) => OutputChoice::Pooled {
            module: after.module.clone(),
        },
        (None, None) if settings.pooling_from == PoolingFrom::Caller => OutputChoice::HiddenStates,
        (None, None) => OutputChoice::Likely,
    };
    GraphOptions {
        output,
        max_tokens: settings.max_tokens.map(|n| n.min(GRAPH_MAX_TOKENS)),
        hidden_size: settings.hidden_size,
        head_dim: settings.head_dim,
        pad_token_id: settings.pad_token_id,
        ..GraphOptions::new(settings.pooling)
    }
}

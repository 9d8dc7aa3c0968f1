//! A session: a graph in ONNX Runtime, on one provider.

use std::sync::Arc;

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_graph::{GraphBytes, GraphSource, invalid_model};
use akidb_onnx::map_file;
use ort::ErrorCode;
use ort::ep;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};

use crate::error::OnnxRuntimeError;
use crate::external::linked_files;
use crate::library::Library;
use crate::options::{OnnxRuntimeOptions, Optimization};
use crate::provider::{Provider, register};
use crate::runner::failed;

/// Loads `source` to be run by `provider`.
pub(crate) fn load(
    library: &Library,
    source: &GraphSource,
    options: &OnnxRuntimeOptions,
    provider: &Provider,
) -> Result<Session, OnnxRuntimeError> {
    let builder = builder(library, options).map_err(|error| {
        BackendError::new(
            BackendErrorKind::Failed,
            format!("ONNX Runtime can't make a session: {error}"),
        )
    })?;
    let builder = register(builder, provider, library)?;
    let mut builder = hand_over_links(builder, library, source)?;
    let loaded = match &source.bytes {
        GraphBytes::File(path) => builder.commit_from_file(path),
        GraphBytes::Static(bytes) => builder.commit_from_memory(bytes),
    };
    loaded.map_err(|error| match error.code() {
        ErrorCode::ExecutionProviderFailure | ErrorCode::EngineError => {
            OnnxRuntimeError::ProviderFailed {
                provider: provider.name(),
                message: error.to_string(),
            }
        }
        _ => load_error(source, &error).into(),
    })
}

fn builder(library: &Library, options: &OnnxRuntimeOptions) -> ort::Result<SessionBuilder> {
    let settings = options.session;
    let arena = ep::CPU::default().with_arena_allocator(settings.arena);
    let mut builder = Session::builder(&library.environment)?
        // Nothing but what is asked for: ONNX Runtime would choose a device by itself.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_execution_providers([arena.build().error_on_failure()])?
        .with_memory_pattern(settings.memory_pattern)?
        .with_optimization_level(match settings.optimization {
            Optimization::Disabled => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        })?;
    if let Some(threads) = options.threads {
        builder = builder.with_intra_threads(threads.get())?;
    }
    Ok(builder)
}

/// Versions that refuse external data which is a link, as in the Hugging Face cache, as if it left the
/// model's directory.
const REFUSE_LINKS: [&str; 2] = ["1.24.0", "1.24.1"];

/// Gives a library that refuses links the bytes that they lead to: the whole files are held in memory.
fn hand_over_links(
    mut builder: SessionBuilder,
    library: &Library,
    source: &GraphSource,
) -> Result<SessionBuilder, BackendError> {
    if !library
        .version()
        .is_some_and(|version| REFUSE_LINKS.contains(&version))
    {
        return Ok(builder);
    }
    for file in linked_files(source).map_err(invalid_model)? {
        let bytes = map_file(&file.path).map_err(invalid_model)?;
        tracing::info!(
            file = file.name,
            "this version of ONNX Runtime opens no links: the file is read into memory"
        );
        builder = builder
            .with_external_initializer_file_in_memory(&file.name, Arc::from(&*bytes))
            .map_err(|error| failed(error.into()))?;
    }
    Ok(builder)
}

/// The file is known to be well-formed: what fails now is the graph, but for what only ONNX Runtime
/// reads.
fn load_error(source: &GraphSource, error: &ort::Error) -> BackendError {
    let kind = match error.code() {
        ErrorCode::InvalidProtobuf | ErrorCode::NoSuchFile => BackendErrorKind::InvalidModel,
        _ => BackendErrorKind::UnsupportedModel,
    };
    let file = source.label();
    BackendError::new(
        kind,
        format!("{file}ONNX Runtime can't load the graph: {error}"),
    )
}

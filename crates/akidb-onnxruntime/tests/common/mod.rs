//! The library that the tests run on.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;

use akidb_backend::{Backend, BackendError, Pooling, TokenBatch};
use akidb_onnxruntime::{
    GraphOptions, Library, LibrarySearch, OnnxRuntimeError, OnnxRuntimeModel, OnnxRuntimeOptions,
    Provider, ProviderChoice,
};

/// The library, or `None` and a line that says that the test is skipped.
pub(crate) fn library() -> Option<&'static Library> {
    let Some(library) = akidb_testing::onnxruntime_library() else {
        akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
        return None;
    };
    let search = LibrarySearch {
        library: Some(library),
        ..LibrarySearch::default()
    };
    Some(Library::find(&search).unwrap())
}

/// Options for the CPU, with the head width that the fixtures' config.json states.
pub(crate) fn options(pooling: Pooling) -> OnnxRuntimeOptions {
    OnnxRuntimeOptions {
        provider: ProviderChoice::Named(Provider::Cpu),
        graph: GraphOptions {
            head_dim: Some(16),
            ..GraphOptions::new(pooling)
        },
        ..OnnxRuntimeOptions::new(pooling)
    }
}

pub(crate) fn load(
    library: &'static Library,
    path: &Path,
    pooling: Pooling,
) -> Result<OnnxRuntimeModel, OnnxRuntimeError> {
    OnnxRuntimeModel::load(library, path, &options(pooling))
}

pub(crate) fn rows(
    model: &OnnxRuntimeModel,
    texts: &[&[u32]],
) -> Result<Vec<Vec<f32>>, BackendError> {
    let batch: TokenBatch = texts.iter().collect();
    let width = model.info().hidden_size;
    let mut out = vec![f32::NAN; texts.len() * width];
    model.forward(&batch, &mut out)?;
    Ok(out.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

/// The error's message and those of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    chain
}

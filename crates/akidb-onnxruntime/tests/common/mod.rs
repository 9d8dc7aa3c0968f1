//! The library that the tests run on.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

use akidb_backend::{Backend, BackendError, Pooling, TokenBatch};
use akidb_onnxruntime::{
    GraphOptions, Library, LibrarySearch, OnnxRuntimeError, OnnxRuntimeModel, OnnxRuntimeOptions,
    Provider, ProviderChoice,
};

pub(crate) fn search() -> LibrarySearch {
    LibrarySearch {
        library: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        directories: Vec::new(),
        python_environments: akidb_testing::python_environment().into_iter().collect(),
    }
}

/// The library, or `None` and a line that says that the test is skipped.
pub(crate) fn library() -> Option<&'static Library> {
    match Library::find(&search()) {
        Ok(library) => Some(library),
        Err(OnnxRuntimeError::NoLibrary { unusable }) if unusable.is_empty() => {
            akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
            None
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
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

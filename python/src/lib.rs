//! The library for Python: the extension module `akidb_embedding._native`.

mod arrow;
mod call;
mod columns;
mod corpus;
mod embedder;
mod failure;
mod handle;
mod model;
mod options;
mod reranker;
mod signals;
mod texts;
mod vectors;
mod watch;

use std::ffi::OsString;
use std::io::Write;

use pyo3::prelude::*;

/// Embeds texts. See the package `akidb_embedding`.
#[pymodule(gil_used = false)]
mod _native {
    use super::{OsString, PyResult, Python, Write, pyfunction};

    #[pymodule_export]
    use super::arrow::ArrowArray;
    #[pymodule_export]
    use super::corpus::{Corpus, run_status};
    #[pymodule_export]
    use super::embedder::Embedder;
    #[pymodule_export]
    use super::reranker::{Reranker, Score};
    #[pymodule_export]
    use super::vectors::Embedding;

    #[pymodule_export]
    #[allow(
        non_upper_case_globals,
        reason = "the name that Python packages have for it"
    )]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Runs the command line with its arguments, its own name first, and gives its exit status.
    #[pyfunction]
    fn command_line(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
        py.detach(|| {
            let status = akidb_embed::main(arguments);
            // Nobody else does: a library's standard output isn't flushed when the process ends.
            std::io::stdout().flush()?;
            Ok(status)
        })
    }
}

//! Everything that can go wrong before a model runs.

use std::path::{Path, PathBuf};

use akidb_backend::BackendError;

/// Oldest version that is used.
pub(crate) const OLDEST: &str = "1.22";

/// Why a model could not be loaded with ONNX Runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxRuntimeError {
    /// No library was named, and none was found that can be used.
    #[error("no ONNX Runtime library was found{}", list(.unusable))]
    NoLibrary {
        /// Libraries that were found and can't be used.
        unusable: Vec<LibraryError>,
    },
    /// The library that was named can't be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// There is no such provider.
    #[error("there is no provider {name:?}")]
    UnknownProvider {
        /// What was asked for.
        name: String,
    },
    /// An option doesn't fit the provider.
    #[error("an option of the {provider} provider can't be used: {message}")]
    ProviderOption {
        /// Which provider.
        provider: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The library was built without the provider.
    #[error("the {provider} provider is not in {}", library.display())]
    ProviderMissing {
        /// Which provider.
        provider: &'static str,
        /// The library.
        library: PathBuf,
        /// The providers that it has.
        available: Vec<&'static str>,
    },
    /// The provider is there, but can't be started on this machine.
    #[error("the {provider} provider can't be started: {message}")]
    ProviderFailed {
        /// Which provider.
        provider: &'static str,
        /// What ONNX Runtime says.
        message: String,
    },
    /// The model can't be loaded or run.
    #[error(transparent)]
    Model(#[from] BackendError),
}

/// A library that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct LibraryError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: LibraryProblem,
}

/// What is wrong with a library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryProblem {
    /// There is no such file, or a directory without such a file in it.
    #[error("there is no ONNX Runtime library")]
    Missing,
    /// It was built for other processors.
    #[error(
        "it is built for {built_for}, this program for {}",
        std::env::consts::ARCH
    )]
    Architecture {
        /// What it was built for.
        built_for: &'static str,
    },
    /// The system can't open it.
    #[error("it can't be opened: {0}")]
    Open(String),
    /// It is a library, but not this one.
    #[error("it is not ONNX Runtime")]
    NotOnnxRuntime,
    /// It is older than the oldest that is used.
    #[error("it is ONNX Runtime {version}; {OLDEST} or newer is needed")]
    TooOld {
        /// Its version.
        version: String,
    },
    /// Another one is open already; a process can have only one.
    #[error("this process has already opened {}", opened.display())]
    AnotherIsOpen {
        /// The other one.
        opened: PathBuf,
    },
    /// It was opened and doesn't work.
    #[error("it can't be started: {0}")]
    Start(String),
}

impl LibraryError {
    pub(crate) fn new(path: &Path, problem: LibraryProblem) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }
}

fn list(unusable: &[LibraryError]) -> String {
    if unusable.is_empty() {
        return String::new();
    }
    let each: Vec<String> = unusable.iter().map(LibraryError::to_string).collect();
    format!(" that can be used ({})", each.join("; "))
}

//! The ONNX Runtime library: found, opened once, and asked what it has.

mod architecture;
mod search;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use akidb_graph::catch_panic;
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;

use crate::error::{LibraryError, LibraryProblem, OnnxRuntimeError};

pub use search::LibrarySearch;

/// An open ONNX Runtime library. A process opens one at most, and keeps it.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    /// The same without links: its name may have the version.
    file: PathBuf,
    build: String,
    pub(crate) environment: Environment,
    /// The plugins that are open, each with the names of its providers.
    pub(crate) plugins: Mutex<Vec<(PathBuf, Vec<String>)>>,
}

static OPENED: OnceLock<Library> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

impl Library {
    /// The library that `search` names, or the first usable one of those that it finds; once one
    /// is open, that one.
    ///
    /// # Errors
    /// When there is none, the one that is named can't be used, or another one is open already.
    pub fn find(search: &LibrarySearch) -> Result<&'static Self, OnnxRuntimeError> {
        let _one_at_a_time = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = &search.library {
            return Ok(open_named(named)?);
        }
        if let Some(opened) = OPENED.get() {
            return Ok(opened);
        }
        let mut unusable = Vec::new();
        for path in search.candidates() {
            match open(&path) {
                Ok(library) => return Ok(library),
                Err(error) => unusable.push(error),
            }
        }
        Err(OnnxRuntimeError::NoLibrary { unusable })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version, such as `1.32.0`, where the build or the file's name tells it.
    pub fn version(&self) -> Option<&str> {
        let branch = self.build.split("git-branch=rel-").nth(1);
        let version = branch.and_then(|rest| rest.split([',', ' ']).next());
        version.or_else(|| {
            let name = self.file.file_name()?.to_str()?;
            let at = name.find(|c: char| c.is_ascii_digit())?;
            Some(name.get(at..)?.trim_end_matches(".dylib"))
        })
    }

    /// What the library says of how it was built.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Names of the providers that were built into it, as `--provider` takes them.
    pub fn providers(&self) -> Vec<&'static str> {
        available()
    }
}

/// Names of the providers that were built into the open library, the preferred first.
fn available() -> Vec<&'static str> {
    let mut found = Vec::new();
    for (name, has) in [
        ("coreml", ep::CoreML::is_available()),
        ("tensorrt", ep::TensorRT::is_available()),
        ("cuda", ep::CUDA::is_available()),
        ("directml", ep::DirectML::is_available()),
        ("openvino", ep::OpenVINO::is_available()),
        ("xnnpack", ep::XNNPACK::is_available()),
        ("cpu", ep::CPU::is_available()),
    ] {
        if has.unwrap_or(false) {
            found.push(name);
        }
    }
    found
}

fn open_named(named: &Path) -> Result<&'static Library, LibraryError> {
    let missing = || LibraryError::new(named, LibraryProblem::Missing);
    let path = if named.is_dir() {
        search::in_directory(named).ok_or_else(missing)?
    } else if named.is_file() {
        named.to_owned()
    } else {
        return Err(missing());
    };
    open(&path)
}

fn open(path: &Path) -> Result<&'static Library, LibraryError> {
    let problem = |problem| LibraryError::new(path, problem);
    if let Some(built_for) = architecture::built_for(path)
        && built_for != std::env::consts::ARCH
    {
        return Err(problem(LibraryProblem::Architecture { built_for }));
    }
    // Absolute: the system's loader would look for a bare name elsewhere.
    let absolute =
        std::path::absolute(path).map_err(|e| problem(LibraryProblem::Open(e.to_string())))?;
    if let Some(opened) = OPENED.get() {
        return if same_file(&absolute, &opened.path) {
            Ok(opened)
        } else {
            let opened = opened.path.clone();
            Err(problem(LibraryProblem::AnotherIsOpen { opened }))
        };
    }
    let environment = start(&absolute).map_err(problem)?;
    let build = ort::info().to_owned();
    tracing::info!(path = %absolute.display(), build, "ONNX Runtime opened");
    Ok(OPENED.get_or_init(|| Library {
        file: absolute.canonicalize().unwrap_or_else(|_| absolute.clone()),
        path: absolute,
        build,
        environment,
        plugins: Mutex::default(),
    }))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn start(path: &Path) -> Result<Environment, LibraryProblem> {
    let mut problem = None;
    let started = catch_panic("ONNX Runtime", "starting", || {
        let builder = match ort::init_from(path) {
            Ok(builder) => builder,
            Err(error) => {
                problem = Some(load_problem(error));
                return Ok(None);
            }
        };
        let environment = builder
            .with_name("akidb")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build();
        match environment {
            Ok(environment) => {
                environment.set_log_level(LogLevel::Warning);
                Ok(Some(environment))
            }
            Err(error) => {
                problem = Some(LibraryProblem::Start(error.to_string()));
                Ok(None)
            }
        }
    });
    match started {
        Ok(Some(environment)) => Ok(environment),
        Ok(None) => Err(problem.unwrap_or(LibraryProblem::NotOnnxRuntime)),
        Err(panic) => Err(LibraryProblem::Start(panic.to_string())),
    }
}

fn load_problem(error: LoadDynamicError) -> LibraryProblem {
    match error {
        LoadDynamicError::Dlopen { error, .. } => {
            // The cause has what the system's loader says.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            LibraryProblem::Open(cause.unwrap_or_else(|| error.to_string()))
        }
        LoadDynamicError::BadVersion { version_str, .. } => LibraryProblem::TooOld {
            version: version_str,
        },
        LoadDynamicError::MissingApi { .. } | LoadDynamicError::InvalidVersionString => {
            LibraryProblem::NotOnnxRuntime
        }
    }
}

/// ONNX Runtime's own messages. What makes a call fail comes back as the call's error, too.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => {}
        LogLevel::Warning | LogLevel::Error | LogLevel::Fatal => {
            tracing::info!(target: "onnxruntime", category, "{message}");
        }
    }
}

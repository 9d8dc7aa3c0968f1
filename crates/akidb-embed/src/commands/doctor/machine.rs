//! The part of the report that no model is needed for.

use std::path::{Path, PathBuf};

use serde::Serialize;

use akidb_embedding::diagnostics;
use akidb_embedding::onnxruntime::{self, OnnxRuntimeError};

use crate::error::CliError;
use crate::hints::onnxruntime_hint;

#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) version: &'static str,
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
    pub(super) cpu_tier: &'static str,
    pub(super) cpu_tiers: Vec<&'static str>,
    pub(super) threads: usize,
    /// In MB; null where the system doesn't tell.
    pub(super) memory_mb: Option<u64>,
    pub(super) memory_available_mb: Option<u64>,
    pub(super) onnxruntime: OnnxRuntime,
    pub(super) models: Vec<Model>,
    /// Where packed weights are kept; null when they are not.
    pub(super) packed_weights: Option<PathBuf>,
    pub(super) packed_weights_mb: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum OnnxRuntime {
    Found {
        library: PathBuf,
        version: Option<String>,
        build: String,
        providers: Vec<&'static str>,
    },
    Missing {
        why: String,
        hint: Option<String>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Model {
    pub(super) id: String,
    pub(super) directory: String,
}

impl Machine {
    pub(super) fn examine(library: Option<PathBuf>) -> Result<Self, CliError> {
        let packed_weights = diagnostics::packed_weights_directory();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpu_tier: diagnostics::cpu_tier()?,
            cpu_tiers: diagnostics::cpu_tiers(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory_mb("MemTotal:"),
            memory_available_mb: memory_mb("MemAvailable:"),
            onnxruntime: match onnxruntime::library(library) {
                Ok(library) => OnnxRuntime::Found {
                    library: library.path().to_owned(),
                    version: library.version().map(str::to_owned),
                    build: library.build().to_owned(),
                    providers: library.providers(),
                },
                Err(error) => missing(&error),
            },
            models: diagnostics::models()?
                .into_iter()
                .map(|model| Model {
                    id: model.id,
                    directory: model.directory,
                })
                .collect(),
            packed_weights_mb: packed_weights.as_deref().map(size_mb),
            packed_weights,
        })
    }
}

fn missing(error: &OnnxRuntimeError) -> OnnxRuntime {
    OnnxRuntime::Missing {
        why: error.to_string(),
        hint: onnxruntime_hint(error),
    }
}

/// A line of Linux' `/proc/meminfo`.
fn memory_mb(line: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let value = text.lines().find_map(|l| l.strip_prefix(line))?;
    let kib: u64 = value.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024 / 1_000_000)
}

/// What the files of a directory take, those in its directories left out.
fn size_mb(directory: &Path) -> u64 {
    let entries = directory.read_dir().into_iter().flatten();
    let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum::<u64>() / 1_000_000
}

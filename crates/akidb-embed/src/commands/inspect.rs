//! `inspect`: what is inside a model file or directory.

use std::io::Write;
use std::path::PathBuf;

use akidb_embedding::diagnostics;
use akidb_onnx::inspect::{Inspection, inspect};
use clap::Args;
use serde::Serialize;

use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An .onnx or .safetensors file, or a model directory
    path: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    /// Of this machine, for the native engine.
    cpu_tier: &'static str,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let inspection = inspect(&args.path)?;
    let cpu_tier = diagnostics::cpu_tier()?;
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        let report = Report {
            inspection: &inspection,
            cpu_tier,
        };
        serde_json::to_writer_pretty(&mut out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        writeln!(out, "{inspection}this machine\n  cpu tier: {cpu_tier}")
    };
    written.map_err(CliError::stdout)
}

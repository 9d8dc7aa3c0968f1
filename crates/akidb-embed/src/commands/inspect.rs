//! `inspect`: what is inside a model file or directory.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An .onnx or .safetensors file, or a model directory
    path: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let inspection = akidb_onnx::inspect::inspect(&args.path)?;
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &inspection)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write!(out, "{inspection}")
    };
    written.map_err(|source| CliError::Write {
        to: "standard output".to_owned(),
        source,
    })
}

//! `doctor`: what this machine has, and what runs a model on it.

mod machine;
mod model;
mod render;
mod report;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::args::ModelArgs;
use crate::error::CliError;
use crate::message::message;
use crate::output::{print, print_json};
use machine::Machine;
use model::ModelReport;

#[derive(Debug, Args)]
#[command(after_help = "With --model, each backend that can run it is timed.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Print one JSON object, to be kept or attached to a report
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Also look at the model's vectors and measure its speed, and write all of it to this file, to be
    /// attached to a report; it names no home directory
    #[arg(long, value_name = "FILE", help_heading = "Output", requires = "model")]
    report: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelReport>,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let machine = Machine::examine(args.model.onnxruntime_library()?)?;
    let model = match args.model.names_a_model() {
        true => Some(ModelReport::make(&args.model)),
        false => None,
    };
    let report = Report { machine, model };
    match args.json {
        true => print_json(&report)?,
        false => print(&render::text(&report))?,
    }
    if let Some(path) = &args.report {
        report::write(&args.model, &report, path)?;
        message(format_args!("{} is written", path.display()));
    }
    match report.model.and_then(|model| model.error) {
        Some(error) => Err(CliError::NoBackendRuns(error)),
        None => Ok(()),
    }
}

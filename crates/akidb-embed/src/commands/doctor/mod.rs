//! `doctor`: what this machine has, and what runs a model on it.

mod checks;
mod machine;
mod model;
mod render;
mod report;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::args::{ModelArgument, RunArgs};
use crate::error::CliError;
use crate::message::message;
use crate::print::{print, print_json};
use crate::waiting::Waiting;
use machine::Machine;
use model::ModelReport;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed doctor
  akidb-embed doctor qwen3-embedding-0.6b",
    after_help = "\
With a model it says in a line each what the others say at length: inspect (what is it), validate (are \
its files whole, do they agree), models verify (are they those that were fetched), verify (are its \
vectors right); it times each backend, and names the command to go on with."
)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgument,

    /// Print one JSON object, to be kept or attached to a report
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Also look at the model's vectors and measure its speed, and write all of it to this file, to be
    /// attached to a report; it names no home directory
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelReport>,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    if args.report.is_some() && args.model.get().is_none() {
        return Err(CliError::Usage(
            "--report is of a model: name one".to_owned(),
        ));
    }
    let machine = Machine::examine(args.run.onnxruntime_library()?)?;
    let named = args.model.get();
    let chosen = args.model.with(&args.run);
    let model = named.map(|_| {
        let _waiting = Waiting::new("looking at the model");
        ModelReport::make(chosen, args.run.names_coreml())
    });
    let report = Report { machine, model };
    match args.json {
        true => print_json(&report)?,
        false => print(&render::text(&report))?,
    }
    if let Some(path) = &args.report {
        report::write(chosen, &report, path)?;
        message(format_args!("{} is written", path.display()));
    }
    match report.model.and_then(|model| model.error) {
        Some(error) => Err(CliError::NoBackendRuns(error)),
        None => Ok(()),
    }
}

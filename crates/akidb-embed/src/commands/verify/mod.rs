//! `verify`: are the vectors of a model right?

mod check;
mod goldens;
mod render;

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder, Precision, Provenance};
use clap::Args;
use serde::Serialize;

use crate::args::ModelArgs;
use crate::error::{CliError, chain};
use crate::output::{print, print_json};
use check::Check;

#[derive(Debug, Args)]
#[command(after_help = "\
The model's vectors are compared with known ones where there are some, must put sentences of one \
meaning nearer to each other than others, and are compared between the backends that can run it. \
Exit status 1 means that they are wrong.")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Print one JSON object, to be kept or attached to a report
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    right: bool,
    /// What was checked.
    provenance: Provenance,
    checks: Vec<Check>,
    /// What could not be compared, and why.
    skipped: Vec<String>,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let embedder = args.model.load()?;
    let options = EmbedOptions::default();
    let provenance = embedder.provenance(&options)?;
    let mut checks = Vec::new();
    let mut skipped = Vec::new();
    checks.extend(check::known_vectors(&embedder, &provenance)?);
    checks.extend(check::published_similarities(&embedder, &provenance)?);
    checks.push(check::meanings(&embedder)?);
    let vectors = embedder.vectors(&goldens::TEXTS, &options)?;
    for (choice, precision, name) in [
        (BackendChoice::Native, Precision::F32, "native"),
        (BackendChoice::Rten, Precision::Auto, "rten"),
        (BackendChoice::OnnxRuntime, Precision::Auto, "onnxruntime"),
    ] {
        let same_precision = precision == Precision::Auto || provenance.precision == "f32";
        if provenance.backend == name && same_precision {
            continue;
        }
        match another(args, choice, precision) {
            Ok(other) => {
                let Provenance {
                    backend, precision, ..
                } = other.provenance(&options)?;
                let others = other.vectors(&goldens::TEXTS, &options)?;
                checks.push(check::agreement(
                    format!("{backend} in {precision}"),
                    [&provenance.precision, &precision],
                    &vectors,
                    &others,
                ));
            }
            Err(error) => skipped.push(format!("{name}: {}", chain(&error))),
        }
    }
    let report = Report {
        right: checks.iter().all(|check| check.right),
        provenance,
        checks,
        skipped,
    };
    match args.json {
        true => print_json(&report)?,
        false => print(&render::text(&report))?,
    }
    match report.right {
        true => Ok(()),
        false => Err(CliError::WrongVectors(report.provenance.model)),
    }
}

/// The same model and weights on another backend.
fn another(
    args: &VerifyArgs,
    choice: BackendChoice,
    precision: Precision,
) -> Result<Embedder, CliError> {
    args.model
        .load_with(|builder| builder.backend(choice).precision(precision))
}

//! `verify`: are the vectors of a model, or the scores of a reranker, right?

mod check;
mod render;
mod reranker;
mod texts;

use akidb_embedding::{
    BackendChoice, EmbedOptions, EmbedderBuilder, Precision, Provenance, model_store,
};
use clap::Args;
use serde::Serialize;

use crate::args::{ModelArgument, RunArgs};
use crate::error::{CliError, chain};
use crate::print::{print, print_json};
use crate::waiting::Waiting;
use check::Check;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed verify qwen3-embedding-0.6b
  akidb-embed verify path/to/model --variant int8 --json",
    after_help = "\
The model's vectors are compared with known ones where there are some, must put sentences of one \
meaning nearer to each other than others, and are compared between the backends that can run it; a \
reranker's scores are, too. Exit status 1 means that they are wrong. Files are validate's business; `models verify` does this for \
every installed model, after it has compared checksums."
)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    model: ModelArgument,

    /// Print one JSON object, to be kept or attached to a report
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    run: RunArgs,
}

/// What a look at a model's vectors has shown.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) right: bool,
    /// What was checked.
    pub(crate) provenance: Provenance,
    checks: Vec<Check>,
    /// What could not be compared, and why.
    skipped: Vec<String>,
}

impl Report {
    /// What was looked at.
    pub(crate) fn what(&self) -> &'static str {
        match self.provenance.scoring {
            Some(_) => "scores",
            None => "vectors",
        }
    }
}

/// With what a model is compared beside known vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Comparisons {
    /// With all other backends.
    All,
    /// With one other backend, and with none where known vectors or similarities tell enough.
    Enough,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let model = args.model.with(&args.run);
    let waiting = Waiting::new("looking at vectors");
    let report = prove(&model.builder()?, Comparisons::All)?;
    drop(waiting);
    model.tell()?;
    match args.json {
        true => print_json(&report)?,
        false => print(&render::text(&report))?,
    }
    match (report.right, report.provenance.scoring) {
        (true, _) => Ok(()),
        (false, None) => Err(CliError::WrongVectors(report.provenance.model)),
        (false, Some(_)) => Err(CliError::WrongScores(report.provenance.model)),
    }
}

/// Looks at a model's vectors, or scores. One backend at a time holds the model.
pub(crate) fn prove(model: &EmbedderBuilder, comparisons: Comparisons) -> Result<Report, CliError> {
    let options = EmbedOptions::default();
    let embedder = model.clone().build()?;
    if embedder.check_embeds().is_err() {
        return reranker::prove(model, embedder, comparisons);
    }
    let provenance = embedder.provenance(&options)?;
    let mut checks = Vec::new();
    let goldens = model_store()?.catalog().goldens(&provenance.model)?;
    if let Some(goldens) = &goldens {
        if !goldens.vectors.is_empty() {
            checks.push(check::known_vectors(&embedder, &provenance, goldens)?);
        }
        if !goldens.similarities.is_empty() {
            checks.push(check::known_similarities(&embedder, &provenance, goldens)?);
        }
    }
    let enough = comparisons == Comparisons::Enough;
    let known = !checks.is_empty();
    checks.push(check::meanings(&embedder)?);
    let vectors = embedder.vectors(&texts::TEXTS, &options)?;
    drop(embedder);

    let mut skipped = Vec::new();
    let mut compared = 0;
    for (choice, precision, name) in [
        (BackendChoice::OnnxRuntime, Precision::Auto, "onnxruntime"),
        (BackendChoice::Rten, Precision::Auto, "rten"),
        (BackendChoice::Native, Precision::F32, "native"),
    ] {
        if enough && (known || compared > 0) {
            break;
        }
        let same_precision = precision == Precision::Auto || provenance.precision == "f32";
        if provenance.backend == name && same_precision {
            continue;
        }
        let other = model.clone().backend(choice).precision(precision);
        match other.build() {
            Ok(other) => {
                let Provenance {
                    backend, precision, ..
                } = other.provenance(&options)?;
                let others = other.vectors(&texts::TEXTS, &options)?;
                checks.push(check::agreement(
                    format!("{backend} in {precision}"),
                    [&provenance.precision, &precision],
                    &vectors,
                    &others,
                ));
                compared += 1;
            }
            Err(error) => skipped.push(format!("{name}: {}", chain(&error))),
        }
    }
    Ok(Report {
        right: checks.iter().all(|check| check.right),
        provenance,
        checks,
        skipped,
    })
}

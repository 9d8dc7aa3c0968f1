//! `validate`: is a model whole, and do its files agree?

mod companions;
mod groups;
mod runs;
mod weights;

use clap::Args;
use serde::Serialize;

use akidb_embedding::files::ModelFiles;
use akidb_embedding::model_store;
use akidb_onnx::validate::{Finding, Severity};

use crate::args::ModelArgument;
use crate::error::CliError;
use crate::hints::repair;
use crate::print::{print, print_json};
use crate::waiting::Waiting;
use groups::groups;
use weights::Checked;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed validate qwen3-embedding-0.6b
  akidb-embed validate path/to/model.onnx",
    after_help = "\
It looks at files: are they whole, do they agree, does anything run them. Of a file that is named, \
nothing beside it is looked at. The vectors are verify's business; `models verify` compares checksums \
and then does what verify does."
)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    model: ModelArgument,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the findings in all checksums of a model are called, before its id.
pub(super) const CHECKSUMS: &str = "checksums of ";

/// Findings in one file.
#[derive(Serialize)]
pub(super) struct FileFindings {
    pub(super) path: String,
    pub(super) findings: Vec<Finding>,
}

pub(crate) fn run(args: &ValidateArgs) -> Result<(), CliError> {
    let model = args.model.find()?;
    let waiting = Waiting::new("reading files");
    let files = findings(&model)?;
    drop(waiting);
    match args.json {
        true => print_json(&files)?,
        false => print(&text(&files))?,
    }
    match errors(&files) {
        0 if args.json => Ok(()),
        0 => print("Its files are whole and agree.\n"),
        errors => Err(CliError::Invalid { errors }),
    }
}

/// What is found in all of a model's files.
pub(super) fn findings(model: &ModelFiles) -> Result<Vec<FileFindings>, CliError> {
    let Checked {
        mut files,
        unknown,
        native,
    } = weights::check(model)?;
    if !model.is_one_file() {
        files.extend(companions::check(model));
        files.extend(checksums(model)?);
        files.extend(runs::check(model, &unknown, native));
    }
    Ok(files)
}

/// How many errors there are that say different things.
pub(super) fn errors(files: &[FileFindings]) -> usize {
    let groups = groups(files).into_iter();
    let errors = groups.filter(|group| group.first.severity == Severity::Error);
    errors.count()
}

/// Compares the checksums of a model of the store; of another model they aren't known.
fn checksums(model: &ModelFiles) -> Result<Option<FileFindings>, CliError> {
    let store = model_store()?;
    let installed = store.model(model.id())?;
    let Some(installed) =
        installed.filter(|installed| model.root() == Some(installed.root.as_path()))
    else {
        return Ok(None);
    };
    let verified = store.verify(&installed.id, &mut |_| {})?;
    if verified.files == 0 && verified.damaged.is_empty() {
        return Ok(None);
    }
    let hint = repair(&installed.id);
    let damaged = verified.damaged.into_iter();
    let findings = damaged.map(|what| Finding::new(Severity::Error, what, hint.as_str()));
    Ok(Some(FileFindings {
        path: format!("{CHECKSUMS}{}", installed.id),
        findings: findings.collect(),
    }))
}

fn text(files: &[FileFindings]) -> String {
    let mut out = String::new();
    for FileFindings { path, findings } in files {
        if findings.is_empty() {
            out.push_str(&format!("{path}: ok\n"));
        }
    }
    for group in groups(files) {
        out.push_str(&group.text());
    }
    out
}

fn broken(why: &str) -> Finding {
    Finding::new(Severity::Error, why, "download the file again")
}

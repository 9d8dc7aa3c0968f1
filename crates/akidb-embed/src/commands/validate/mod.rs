//! `validate`: is a model whole, and do its files agree?

mod companions;
mod weights;

use std::fmt::Write;

use clap::Args;
use serde::Serialize;

use akidb_embedding::files::ModelFiles;
use akidb_embedding::model_store;
use akidb_models::repair;
use akidb_onnx::validate::{Finding, Severity};

use crate::error::CliError;
use crate::output::{print, print_json};

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Model id, model directory, or .onnx or .safetensors file; of a file, nothing beside it is
    /// looked at
    model: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Findings in one file.
#[derive(Serialize)]
struct FileFindings {
    path: String,
    findings: Vec<Finding>,
}

pub(crate) fn run(args: &ValidateArgs) -> Result<(), CliError> {
    let model = ModelFiles::find(Some(&args.model))?;
    let mut files = weights::check(&model)?;
    if !model.is_one_file() {
        files.extend(companions::check(&model));
        files.extend(checksums(&model)?);
    }
    match args.json {
        true => print_json(&files)?,
        false => print(&text(&files))?,
    }
    let all = files.iter().flat_map(|file| &file.findings);
    match all.filter(|f| f.severity == Severity::Error).count() {
        0 => Ok(()),
        errors => Err(CliError::Invalid { errors }),
    }
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
        path: format!("checksums of {}", installed.id),
        findings: findings.collect(),
    }))
}

fn text(files: &[FileFindings]) -> String {
    let mut out = String::new();
    for FileFindings { path, findings } in files {
        // Writing to a string can't fail.
        if findings.is_empty() {
            let _ = writeln!(out, "{path}: ok");
        }
        for Finding {
            severity,
            what,
            hint,
        } in findings
        {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let _ = writeln!(out, "{path}: {severity}: {what}\n  {hint}");
        }
    }
    out
}

fn broken(why: &str) -> Finding {
    Finding::new(Severity::Error, why, "download the file again")
}

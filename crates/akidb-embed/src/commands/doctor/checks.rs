//! What the other commands say of a model, in a line each, and which of them to go on with.

use serde::Serialize;

use akidb_onnx::validate::Severity;

use crate::args::ChosenModel;
use crate::commands::validate::{self, CHECKSUMS};
use crate::commands::verify::{Comparisons, prove};
use crate::error::{CliError, chain};

/// What is found of a model.
#[derive(Debug, Serialize)]
pub(super) struct Checks {
    /// By the commands that say it at length.
    pub(super) lines: Vec<(&'static str, String)>,
    /// The command to go on with.
    pub(super) next: String,
}

/// How a check came out.
struct Outcome {
    right: bool,
    line: String,
}

impl Checks {
    /// `runs` is whether a backend runs the model, `what` what it is.
    pub(super) fn make(model: ChosenModel<'_>, what: Option<String>, runs: bool) -> Self {
        let name = model.name().unwrap_or_default();
        let quoted = match name.contains([' ', '"', '\'']) {
            true => format!("{name:?}"),
            false => name,
        };
        let [files, checksums] = files(model).unwrap_or_else(|error| {
            let line = chain(&error);
            [Outcome { right: false, line }, unknown()]
        });
        let (vectors, embeds) = vectors(model);
        let next = match (files.right, checksums.right, runs, vectors.right) {
            (false, ..) => format!("akidb-embed validate {quoted}"),
            (_, false, ..) => format!("akidb-embed models verify {quoted}"),
            (_, _, false, _) => format!("akidb-embed inspect {quoted}"),
            (.., false) => format!("akidb-embed verify {quoted}"),
            _ if embeds => format!("akidb-embed embed \"a text\" -m {quoted}"),
            _ => format!("akidb-embed rerank \"a query\" \"a document\" -m {quoted}"),
        };
        let what = what.unwrap_or_else(|| "nothing that a backend runs".to_owned());
        Self {
            lines: vec![
                ("inspect", what),
                ("validate", files.line),
                ("models verify", checksums.line),
                ("verify", vectors.line),
            ],
            next,
        }
    }
}

fn unknown() -> Outcome {
    Outcome {
        right: true,
        line: "its checksums are not known: it is not from the store".to_owned(),
    }
}

/// What `validate` says of files, and `models verify` of their checksums.
fn files(model: ChosenModel<'_>) -> Result<[Outcome; 2], CliError> {
    let (model, _) = model.files()?;
    let found = validate::findings(&model)?;
    let (checksums, files): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|file| file.path.starts_with(CHECKSUMS));
    let errors = validate::errors(&files);
    let of = |severity| {
        let findings = files.iter().flat_map(|file| &file.findings);
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (warnings, notes) = (of(Severity::Warning), of(Severity::Note));
    let files = Outcome {
        right: errors == 0,
        line: match (errors, warnings, notes) {
            (0, 0, 0) => "its files are whole and agree".to_owned(),
            (0, ..) => {
                format!("its files are whole and agree ({warnings} warnings, {notes} notes)")
            }
            _ => format!("{errors} errors, {warnings} warnings, {notes} notes"),
        },
    };
    let checksums = match checksums.first() {
        None => unknown(),
        Some(file) => Outcome {
            right: file.findings.is_empty(),
            line: match file.findings.first() {
                None => "its checksums agree".to_owned(),
                Some(finding) => finding.what.clone(),
            },
        },
    };
    Ok([files, checksums])
}

/// What `verify` says of its vectors or scores, and whether it embeds.
fn vectors(model: ChosenModel<'_>) -> (Outcome, bool) {
    let report = model
        .builder()
        .and_then(|builder| prove(&builder, Comparisons::Enough));
    match report {
        Ok(report) => {
            let verdict = if report.right { "right" } else { "WRONG" };
            let outcome = Outcome {
                right: report.right,
                line: format!("its {} are {verdict}", report.what()),
            };
            (outcome, report.provenance.scoring.is_none())
        }
        Err(error) => {
            let outcome = Outcome {
                right: false,
                line: format!("its vectors can't be looked at: {}", chain(&error)),
            };
            (outcome, true)
        }
    }
}

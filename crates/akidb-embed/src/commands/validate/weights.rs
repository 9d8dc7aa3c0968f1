//! Graphs, weights, and what they make.

use akidb_embedding::files::{ModelFiles, Weights, WeightsSource};
use akidb_onnx::ErrorKind;
use akidb_onnx::validate::{Finding, Severity, validate};
use akidb_transformer::ModelConfig;
use akidb_transformer::inspect::{Architecture, TensorFile, inspect_onnx, inspect_safetensors};

use super::{FileFindings, broken};
use crate::error::{CliError, chain};

/// What is found in all weights.
pub(super) struct Checked {
    pub(super) files: Vec<FileFindings>,
    /// Variants that the native engine doesn't know, by the file that people see.
    pub(super) unknown: Vec<(String, Weights)>,
    /// Whether it knows one.
    pub(super) native: bool,
}

/// What the native engine makes of weights.
#[derive(Clone, Copy, PartialEq)]
enum Native {
    Knows,
    DoesNot,
    /// They are broken, which is told.
    Broken,
}

/// Findings in the weights of every variant; each file is opened once.
pub(super) fn check(model: &ModelFiles) -> Result<Checked, CliError> {
    // What is wrong with config.json is told with it.
    let config = model.model_config().ok().flatten();
    let mut checked = Checked {
        files: Vec::new(),
        unknown: Vec::new(),
        native: false,
    };
    for weights in model.variants()? {
        let path = path(model, &weights);
        let (findings, native) = variant(&path, &weights, config.as_ref());
        checked.files.extend(findings);
        match native {
            Native::Knows => checked.native = true,
            Native::DoesNot => checked.unknown.push((path, weights)),
            Native::Broken => {}
        }
    }
    Ok(checked)
}

fn path(model: &ModelFiles, weights: &Weights) -> String {
    let path = weights.source.path();
    path.map_or_else(
        || format!("{} {}", model.id(), weights.variant),
        |path| path.display().to_string(),
    )
}

fn variant(
    path: &str,
    weights: &Weights,
    config: Option<&ModelConfig>,
) -> (Vec<FileFindings>, Native) {
    let one = |findings| {
        let path = path.to_owned();
        vec![FileFindings { path, findings }]
    };
    if let WeightsSource::Safetensors(file) = &weights.source {
        return match inspect_safetensors(file, config) {
            Ok(tensors) => (one(recognised(&tensors)), native(&tensors)),
            Err(error) => (one(vec![of_error(&error)]), Native::Broken),
        };
    }
    let graphs = match weights.source.graphs() {
        Ok(graphs) => graphs,
        Err(error) => return (one(vec![of_error(&error)]), Native::Broken),
    };
    let mut knows = Native::Knows;
    let checked = graphs.iter().map(|graph| {
        let mut findings = validate(graph);
        // A graph for CoreML is a part of a model, by intention.
        if matches!(weights.source, WeightsSource::CoreMl(_)) {
            knows = Native::DoesNot;
        } else {
            let tensors = inspect_onnx(graph, config).tensors;
            knows = native(&tensors);
            findings.extend(recognised(&tensors));
        }
        let own = graph.path().map(|path| path.display().to_string());
        FileFindings {
            path: own.unwrap_or_else(|| path.to_owned()),
            findings,
        }
    });
    let checked = checked.collect();
    (checked, knows)
}

fn native(tensors: &TensorFile) -> Native {
    match &tensors.architecture {
        Architecture::NotRecognised(_) => Native::DoesNot,
        Architecture::Broken(_) => Native::Broken,
        _ if !tensors.disagreements.is_empty() => Native::Broken,
        Architecture::Decoder(_) | Architecture::Encoder(_) => Native::Knows,
    }
}

fn of_error(error: &akidb_onnx::Error) -> Finding {
    match error.kind() {
        ErrorKind::LfsPointer(_) => Finding::new(
            Severity::Error,
            error.kind().to_string(),
            "run git lfs pull in the model's directory",
        ),
        _ => broken(&chain(error)),
    }
}

fn recognised(tensors: &TensorFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &tensors.architecture {
        Architecture::Decoder(_) | Architecture::Encoder(_) => {}
        Architecture::NotRecognised(why) => findings.push(Finding::new(
            Severity::Note,
            format!("not a model that the native engine knows: {why}"),
            "it may run on another backend",
        )),
        Architecture::Broken(why) => findings.push(broken(why)),
    }
    let disagreements = tensors.disagreements.iter();
    findings.extend(disagreements.map(|disagreement| {
        Finding::new(
            Severity::Error,
            disagreement.to_string(),
            "take config.json and the weights from one revision of the model",
        )
    }));
    findings
}

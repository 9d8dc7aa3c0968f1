//! Graphs, weights, and what they make.

use akidb_embedding::files::{ModelFiles, Source, Weights};
use akidb_onnx::validate::{Finding, Severity, validate};
use akidb_transformer::DecoderConfig;
use akidb_transformer::inspect::{Architecture, TensorFile, inspect_onnx, inspect_safetensors};

use super::{FileFindings, broken};
use crate::error::{CliError, chain};

/// Findings in the weights of every variant; each file is opened once.
pub(super) fn check(model: &ModelFiles) -> Result<Vec<FileFindings>, CliError> {
    // What is wrong with config.json is told with it.
    let config = model.decoder_config().ok().flatten();
    let variants = model.variants()?;
    let checked = variants
        .iter()
        .flat_map(|weights| variant(model, weights, config.as_ref()));
    Ok(checked.collect())
}

fn variant(
    model: &ModelFiles,
    weights: &Weights,
    config: Option<&DecoderConfig>,
) -> Vec<FileFindings> {
    let path = weights.source.path();
    let path = path.map_or_else(
        || format!("{} {}", model.id(), weights.variant),
        |path| path.display().to_string(),
    );
    let of_error = |error: &akidb_onnx::Error| vec![broken(&chain(error))];
    if let Source::Safetensors(file) = &weights.source {
        let findings = match inspect_safetensors(file, config) {
            Ok(tensors) => recognised(&tensors),
            Err(error) => of_error(&error),
        };
        return vec![FileFindings { path, findings }];
    }
    let graphs = match weights.source.graphs() {
        Ok(graphs) => graphs,
        Err(error) => {
            let findings = of_error(&error);
            return vec![FileFindings { path, findings }];
        }
    };
    let checked = graphs.iter().map(|graph| {
        let mut findings = validate(graph);
        // A graph for CoreML is a part of a model, by intention.
        if !matches!(weights.source, Source::CoreMl(_)) {
            findings.extend(recognised(&inspect_onnx(graph, config).tensors));
        }
        let own = graph.path().map(|path| path.display().to_string());
        FileFindings {
            path: own.unwrap_or_else(|| path.clone()),
            findings,
        }
    });
    checked.collect()
}

fn recognised(tensors: &TensorFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &tensors.architecture {
        Architecture::Decoder(_) => {}
        Architecture::NotRecognised(why) => findings.push(Finding::new(
            Severity::Note,
            format!("not a decoder that the native engine knows: {why}"),
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

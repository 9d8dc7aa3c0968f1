//! Are the scores of a reranker right?

use std::sync::Arc;

use akidb_embedding::{
    BackendChoice, Embedder, EmbedderBuilder, Precision, RerankOptions, Reranker, Scoring,
};

use super::check::Check;
use super::texts::MEANINGS;
use super::{Comparisons, Report};
use crate::error::{CliError, chain};

/// Looks at a reranker's scores, as [`super::prove`] does at vectors. One backend at a time holds the
/// model.
pub(super) fn prove(
    model: &EmbedderBuilder,
    embedder: Embedder,
    comparisons: Comparisons,
) -> Result<Report, CliError> {
    let reranker = Reranker::from(Arc::new(embedder));
    let provenance = reranker.provenance(&RerankOptions::default())?;
    let scores = probabilities(&reranker)?;
    drop(reranker);
    let mut checks = vec![Check::answers(&scores)];
    let mut skipped = Vec::new();
    for (choice, precision, name) in [
        (BackendChoice::OnnxRuntime, Precision::Auto, "onnxruntime"),
        (BackendChoice::Rten, Precision::Auto, "rten"),
        (BackendChoice::Native, Precision::F32, "native"),
    ] {
        if comparisons == Comparisons::Enough && checks.len() > 1 {
            break;
        }
        let same_precision = precision == Precision::Auto || provenance.precision == "f32";
        if provenance.backend == name && same_precision {
            continue;
        }
        match model.clone().backend(choice).precision(precision).build() {
            Ok(other) => {
                let other = Reranker::from(Arc::new(other));
                let found = other.provenance(&RerankOptions::default())?;
                checks.push(Check::same_scores(
                    format!("{} in {}", found.backend, found.precision),
                    [&provenance.precision, &found.precision],
                    &scores,
                    &probabilities(&other)?,
                ));
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

/// For the first sentence of each pair, the probabilities of all second ones, in order.
fn probabilities(reranker: &Reranker) -> Result<Vec<Vec<f32>>, CliError> {
    let documents = MEANINGS.map(|[_, document]| document);
    let mut all = Vec::with_capacity(MEANINGS.len());
    for [query, _] in MEANINGS {
        let mut scores = reranker.rerank(query, &documents, &RerankOptions::default())?;
        scores.sort_by_key(|score| score.index);
        let scores = scores.iter();
        all.push(
            scores
                .map(|score| score.probability(Scoring::Model))
                .collect(),
        );
    }
    Ok(all)
}

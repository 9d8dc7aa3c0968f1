//! Does anything run the model?

use akidb_embedding::files::{ModelFiles, Weights};
use akidb_embedding::{EmbedError, Embedder};
use akidb_onnx::validate::{Finding, Severity};

use super::FileFindings;
use crate::error::chain;
use crate::hints::hint_of;

/// A finding for each of these variants that no backend runs: an error where none is left.
///
/// They are those that the native engine doesn't know; `others` says whether it knows another one.
pub(super) fn check(
    model: &ModelFiles,
    variants: &[(String, Weights)],
    others: bool,
) -> Vec<FileFindings> {
    let mut refused = Vec::new();
    for (path, weights) in variants {
        let name = match model.root() {
            Some(root) => root.display().to_string(),
            None => model.id().to_owned(),
        };
        let builder = Embedder::builder().model(name).variant(&weights.variant);
        // What else can be wrong is told with the file at fault.
        if let Err(error @ (EmbedError::NoBackend { .. } | EmbedError::FeatureMissing { .. })) =
            builder.build()
        {
            refused.push((path.clone(), error));
        }
    }
    let severity = match others || refused.len() < variants.len() {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let findings = refused.into_iter().map(|(path, error)| FileFindings {
        path,
        findings: vec![Finding::new(
            severity,
            chain(&error),
            hint_of(&error).unwrap_or_default(),
        )],
    });
    findings.collect()
}

//! Are the vectors of an installed model right?

use akidb_embedding::Embedder;
use akidb_models::Store;

use crate::commands::verify::{Comparisons, prove};
use crate::error::{CliError, chain};
use crate::message::message;

/// Looks at the vectors of a variant, says what was found and notes it in the store. Weights that no
/// backend can run here are told, and not called wrong.
pub(super) fn look_at(store: &Store, model: &str, variant: &str) -> Result<bool, CliError> {
    let builder = Embedder::builder().model(model).variant(variant);
    let report = match prove(&builder, Comparisons::Enough) {
        Ok(report) => report,
        Err(error) => {
            let why = chain(&error);
            message(format_args!(
                "{model} {variant}: its vectors could not be looked at: {why}"
            ));
            return Ok(true);
        }
    };
    if let Ok(id) = model.parse()
        && let Err(error) = store.note_vectors(&id, variant, report.right)
    {
        tracing::debug!(model, variant, %error, "outcome for the vectors not noted");
    }
    let verdict = if report.right { "right" } else { "WRONG" };
    message(format_args!("{model} {variant}: its vectors are {verdict}"));
    Ok(report.right)
}

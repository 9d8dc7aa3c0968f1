//! Do the arguments of a call fit the model?

use akidb_backend::{BackendError, BackendErrorKind, BackendInfo, TokenBatch};

/// Engines hold ids as i32.
pub(crate) const MAX_VOCAB_SIZE: usize = i32::MAX as usize;

/// Checks a call of [`Backend::forward`](akidb_backend::Backend::forward) with an `out` of
/// `out_len` values against the model's `info`.
///
/// # Errors
/// When `out` has another length than the texts' rows, a text has no tokens or too many, or an id
/// is outside the vocabulary.
pub fn check_call(
    info: &BackendInfo,
    batch: &TokenBatch,
    out_len: usize,
) -> Result<(), BackendError> {
    let invalid = |what| Err(BackendError::new(BackendErrorKind::InvalidInput, what));
    let hidden_size = info.hidden_size;
    if batch.len().checked_mul(hidden_size) != Some(out_len) {
        return invalid(format!(
            "out holds {out_len} values, {} texts of hidden_size {hidden_size} need {}",
            batch.len(),
            batch.len().saturating_mul(hidden_size)
        ));
    }
    let vocab_size = info.vocab_size.unwrap_or(MAX_VOCAB_SIZE);
    let max_tokens = info.max_tokens.unwrap_or(usize::MAX);
    for (i, ids) in batch.iter().enumerate() {
        if ids.is_empty() {
            return invalid(format!("text {i} has no tokens"));
        }
        if ids.len() > max_tokens {
            return invalid(format!(
                "text {i} has {} tokens, the model takes {max_tokens}",
                ids.len()
            ));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return invalid(format!(
                "text {i} has token id {id}, the vocabulary ends at {vocab_size}"
            ));
        }
    }
    Ok(())
}

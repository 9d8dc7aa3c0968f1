//! Errors of the library and of its queue, in AkiDB's words.

use std::error::Error;
use std::fmt;

use akidb_schedule::ScheduleError;

use super::contract::EmbeddingError;
use crate::diagnostics::chain;
use crate::error::EmbedError;

/// An error of the library in AkiDB's words; it names the text at fault by its index.
pub(super) fn failed(error: EmbedError) -> EmbeddingError {
    let message = chain(&error);
    match error {
        EmbedError::InvalidTokens { .. }
        | EmbedError::TooLong { .. }
        | EmbedError::Dimension { .. }
        | EmbedError::NoInstruction
        | EmbedError::InstructionForDocuments => EmbeddingError::InvalidInput(message),
        _ => EmbeddingError::Internal(message),
    }
}

/// Why there are no states, in AkiDB's words.
pub(super) fn refused(error: ScheduleError<EmbedError>, several: bool) -> EmbeddingError {
    let at = |index: usize, message: &dyn fmt::Display| {
        EmbeddingError::Internal(match several {
            true => format!("the text at index {index}: {message}"),
            false => message.to_string(),
        })
    };
    match error {
        ScheduleError::Failed { index, source } => at(index, &chain(&*source)),
        ScheduleError::Panicked { index, message } => at(
            index,
            &format_args!("the model failed unexpectedly: {message}"),
        ),
        error => EmbeddingError::ServiceUnavailable(chain(&error)),
    }
}

pub(super) fn internal(error: impl Error) -> EmbeddingError {
    EmbeddingError::Internal(chain(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_text_at_fault_is_named_by_its_index() {
        let failed = || ScheduleError::Failed {
            index: 3,
            source: Arc::new(EmbedError::Unsupported("no".to_owned())),
        };
        let said = |error, several| refused(error, several).to_string();
        assert_eq!(
            said(failed(), true),
            "internal error: the text at index 3: no"
        );
        assert_eq!(said(failed(), false), "internal error: no");
        let panicked = ScheduleError::Panicked {
            index: 1,
            message: "the number".into(),
        };
        assert!(
            said(panicked, true).contains("index 1: the model failed unexpectedly: the number")
        );
        let busy = said(ScheduleError::Stopped, true);
        assert!(busy.starts_with("service unavailable: "), "{busy}");
    }
}

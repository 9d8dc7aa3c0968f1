//! What every inference backend takes and gives.
//!
//! A backend turns a [`TokenBatch`] (token ids of several texts, packed end to end) into one
//! hidden-state row per text. Which backend runs, and how, is nobody else's business.
#![forbid(unsafe_code)]

mod batch;
mod error;
mod info;
mod pooling;
mod words;

pub use batch::TokenBatch;
pub use error::{BackendError, BackendErrorKind};
pub use info::{BackendInfo, GraphInterface};
pub use pooling::Pooling;
pub use words::{Choice, UnknownChoice};

/// For [`choice!`].
#[doc(hidden)]
pub use serde;

/// Something that can run an embedding model.
///
/// Implementations are shared between threads; a call may itself use several.
pub trait Backend: Send + Sync {
    /// Facts about the loaded model, constant for the backend's lifetime.
    fn info(&self) -> &BackendInfo;

    /// Writes one pooled row per text of `batch`, before any normalisation.
    ///
    /// `out` is `[batch.len(), info().hidden_size]`, row-major f32. A text's row depends on that
    /// text alone (on a backend that pads, up to rounding). Rows may hold non-finite values where the model overflows: the caller checks.
    ///
    /// # Errors
    /// When `out` has the wrong length, a text is empty or longer than the model allows, a token
    /// id is outside the vocabulary, or the model fails to run. `out` is then unspecified.
    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError>;

    /// Writes the hidden state of every token of `batch`, nothing pooled.
    ///
    /// `out` is `[batch.total_tokens(), info().hidden_size]`, row-major f32; else as
    /// [`Self::forward`].
    ///
    /// # Errors
    /// As [`Self::forward`], and where the backend doesn't do that
    /// ([`BackendErrorKind::UnsupportedModel`]).
    fn forward_all(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        let _ = (batch, out);
        let message = format!(
            "the {} backend gives one state a text, not one a token",
            self.info().backend
        );
        Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            message,
        ))
    }
}

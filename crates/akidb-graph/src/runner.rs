//! What an engine is to this crate: something that runs a graph on texts.

use akidb_backend::BackendError;

use crate::inputs::Texts;
use crate::layout::TextLayout;
use crate::rows::Rows;

/// A loaded graph that knows its inputs and its output.
pub trait Runner: Send + Sync {
    /// How texts lie in its inputs.
    fn layout(&self) -> TextLayout;

    /// Runs texts in one batch.
    ///
    /// # Errors
    /// When the graph can't be run on them.
    fn run(&self, texts: &Texts<'_>) -> Result<Rows, BackendError>;
}

/// What runs the graph, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// Its name in error messages.
    pub name: &'static str,
    /// For [`BackendInfo::backend`](akidb_backend::BackendInfo::backend).
    pub backend: &'static str,
    /// For [`BackendInfo::precision`](akidb_backend::BackendInfo::precision).
    pub precision: &'static str,
    /// For [`BackendInfo::device`](akidb_backend::BackendInfo::device).
    pub device: String,
    /// Largest distance, relative to the row's length, between a text's row alone and beside
    /// another that rounding alone explains. f32 makes about 1e-6, f16 up to 1e-2.
    pub tolerance: f32,
}

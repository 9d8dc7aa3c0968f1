//! Where vectors go.

mod csv;
mod failed;
mod file;
mod format;
mod json;
pub(crate) mod npy;
#[cfg(feature = "corpus")]
mod parquet;
mod text;

use akidb_embedding::Embedding;

use crate::error::BulkError;
use crate::row::Row;

pub use failed::FailedRow;
pub use file::{FileWriter, Interrupted};
pub use format::Format;

/// Takes rows with their vectors, in order.
pub trait VectorWriter {
    /// Writes a row's vector.
    ///
    /// # Errors
    /// When it can't be written.
    fn write(&mut self, row: &Row, embedding: &Embedding) -> Result<(), BulkError>;

    /// Writes an error object in a row's place.
    ///
    /// # Errors
    /// When it can't be written.
    fn write_failed(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError>;

    /// Gives on what has been written so far.
    ///
    /// # Errors
    /// When it can't be written.
    fn flush(&mut self) -> Result<(), BulkError>;
}

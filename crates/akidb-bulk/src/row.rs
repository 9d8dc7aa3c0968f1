//! One text on its way, and what belongs to it.

use akidb_embedding::Input;
use serde_json::Value;

use crate::error::RowError;

/// One text of the input, and what belongs to it.
#[derive(Debug)]
pub struct Row {
    /// Its place among the rows, from 0.
    pub index: u64,
    /// The line that it stands on, from 1, blank lines counted; `None` where the input has no lines.
    pub line: Option<u64>,
    /// What the input calls it.
    pub id: Option<Value>,
    /// The values of the fields that [`Columns::keep`] names, null where the row has none.
    pub kept: Vec<Value>,
    /// The text or token ids, or what is wrong with the row.
    pub input: Result<Input<'static>, RowError>,
}

impl Row {
    /// Its line, or without lines its number from 1: what people count.
    pub fn number(&self) -> u64 {
        self.line.unwrap_or(self.index.saturating_add(1))
    }
}

/// What rows have beside their texts: the same for all rows of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Rows stand on lines.
    pub line: bool,
    /// Rows have an id.
    pub id: bool,
    /// The fields that go along with the vector.
    pub keep: Vec<String>,
}

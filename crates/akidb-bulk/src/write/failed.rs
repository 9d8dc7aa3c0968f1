//! A row that failed, as an object.

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap;

use akidb_embedding::diagnostics::chain;

use crate::error::RowError;
use crate::row::{Columns, Row};

/// A row that can't be embedded.
#[derive(Debug)]
pub struct FailedRow<'a> {
    /// The row.
    pub row: &'a Row,
    /// What is wrong with it.
    pub error: &'a RowError,
    /// What people call its place.
    pub place: String,
}

impl FailedRow<'_> {
    /// What is wrong with it, causes included, in one line.
    pub fn message(&self) -> String {
        chain(self.error)
    }

    /// The object that stands for it in JSON, with the fields that `columns` name.
    pub fn object(&self, columns: &Columns) -> impl Serialize {
        Object {
            row: self.row,
            keep: columns.keep.clone(),
            message: self.message(),
        }
    }
}

struct Object<'a> {
    row: &'a Row,
    keep: Vec<String>,
    message: String,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("object", "error")?;
        map.serialize_entry("index", &self.row.index)?;
        fields(&mut map, self.row, &self.keep)?;
        map.serialize_entry("message", &self.message)?;
        map.end()
    }
}

/// What the input says of a row beside its text.
pub(super) fn fields<M: SerializeMap>(
    map: &mut M,
    row: &Row,
    keep: &[String],
) -> Result<(), M::Error> {
    if let Some(line) = row.line {
        map.serialize_entry("line", &line)?;
    }
    if let Some(id) = &row.id {
        map.serialize_entry("id", id)?;
    }
    for (name, value) in keep.iter().zip(&row.kept) {
        map.serialize_entry(name, value)?;
    }
    Ok(())
}

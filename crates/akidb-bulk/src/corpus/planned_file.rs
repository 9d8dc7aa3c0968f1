//! A file of the input as a plan knows it.

use std::path::PathBuf;

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use super::file_state::FileState;
use super::json_types::JsonTypes;
use super::kind::{FileKind, Packing};
use super::scan::Cut;

/// A file of the input, as it was when the work was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// Where it is, or its URL.
    pub path: PathBuf,
    /// Its path below the folder that was named.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    pub(super) packing: Packing,
    /// Its size.
    pub bytes: u64,
    /// What changes when it is written to.
    pub(super) version: u64,
    /// A hash: of a text file's bytes, of a Parquet file's footer.
    pub content: String,
    /// Its rows.
    pub rows: u64,
    pub(super) cuts: Vec<Cut>,
    pub(super) header: Vec<String>,
    pub(super) columns: Vec<FileColumn>,
}

impl PlannedFile {
    pub(super) fn column(&self, name: &str) -> Option<&ColumnType> {
        let mut columns = self.columns.iter();
        let found = columns.find(|column| column.name == name);
        found.map(|column| &column.of)
    }

    /// What its units are known by: wherever it is, and for text files whenever it was written.
    pub(super) fn identity(&self) -> (&str, &str, u64, u64) {
        let version = match self.kind {
            FileKind::Parquet => self.version,
            _ => 0,
        };
        (&self.name, &self.content, self.bytes, version)
    }

    pub(super) fn state(&self) -> FileState {
        FileState {
            bytes: self.bytes,
            version: self.version,
        }
    }
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileColumn {
    pub(super) name: String,
    pub(super) of: ColumnType,
}

/// What is known of a column's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ColumnType {
    Arrow(DataType),
    Json(JsonTypes),
}

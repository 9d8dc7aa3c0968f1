//! What can go wrong with the whole of it, and with one row.

use std::io;
use std::path::PathBuf;

use akidb_embedding::EmbedError;

/// Why the work ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The input can't be read.
    #[error("{from} can't be read")]
    Read {
        /// The file, or what it is called.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// The output can't be written.
    #[error("{to} can't be written")]
    Write {
        /// The file, or what it is called.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The output is a directory.
    #[error("{} is a directory", .0.display())]
    Directory(PathBuf),
    /// The format has no place for what rows have beside their vectors.
    #[error("{format} has no place for {what}")]
    NoPlace {
        /// The format.
        format: &'static str,
        /// What was to go along.
        what: String,
    },
    /// A field that is kept would have the name of one that answers have.
    #[error("a field {field:?} can't be kept: each answer has one of that name")]
    Reserved {
        /// The field.
        field: String,
    },
    /// A row can't be used, and bad rows were declined.
    #[error("{place} can't be used")]
    Row {
        /// Which one.
        place: String,
        /// What is wrong with it.
        source: RowError,
    },
    /// The options don't fit the model, or the model failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The line is not text.
    #[error("it is not valid UTF-8 from byte {0} on")]
    Utf8(usize),
    /// The line is longer than is read.
    #[error("it is longer than {0} MiB")]
    TooLong(usize),
    /// The line is not JSON.
    #[error("it is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// The line is JSON of another kind.
    #[error("it is {0}, not an object")]
    NotObject(&'static str),
    /// The object lacks a field.
    #[error("it has no field {0:?}")]
    NoField(String),
    /// The field holds something else than a text.
    #[error("its field {field:?} is {is}, not a text or a list of token ids")]
    NotText {
        /// The field.
        field: String,
        /// What it holds.
        is: &'static str,
    },
    /// The field's list holds something else than token ids.
    #[error("its field {field:?} is a list, and entry {index} of it is no token id")]
    NotIds {
        /// The field.
        field: String,
        /// The first entry that is none.
        index: usize,
    },
    /// The field holds nothing.
    #[error("its field {0:?} is null")]
    Null(String),
    /// The record has other fields than the header.
    #[error("it has {has} fields, not the {header} of the header")]
    Fields {
        /// Fields of the record.
        has: usize,
        /// Fields of the header.
        header: usize,
    },
    /// The text can't be embedded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

//! Why a corpus isn't embedded.

use std::io;
use std::path::{Path, PathBuf};

use akidb_embedding::EmbedError;
use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

/// Why the work on a corpus ended, or didn't begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// Something can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something can't be written.
    #[error("{} can't be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A Parquet file can't be read.
    #[error("{} can't be read", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// A unit can't be written.
    #[error("{} can't be written", path.display())]
    WriteParquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// An argument leads to no file.
    #[error("{argument}: {why}")]
    Input {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        why: String,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// A file lacks a column.
    #[error("{} has no column {column:?}; it has {}", path.display(), known.join(", "))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A column can't hold what it is meant to.
    #[error("the column {column:?} of {} is {is}, not {wanted}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        is: String,
        /// What it should be.
        wanted: String,
    },
    /// A column has different types in different files.
    #[error(
        "the column {column:?} is {first_type} in {} and {other_type} in {}",
        first.display(),
        other.display()
    )]
    ColumnTypes {
        /// The column.
        column: String,
        /// A file.
        first: PathBuf,
        /// Its type there.
        first_type: String,
        /// Another one.
        other: PathBuf,
        /// Its type there.
        other_type: String,
    },
    /// A column would have the name of one that is written.
    #[error("a column {0:?} can't be kept: what is written has one of that name")]
    Reserved(String),
    /// The folder belongs to other work.
    #[error("{} holds other work: {}", folder.display(), differences.join("; "))]
    OtherWork {
        /// The folder.
        folder: PathBuf,
        /// What is different.
        differences: Vec<String>,
    },
    /// The folder has files, and none that says what they are.
    #[error("{} has files that are no work of this program", .0.display())]
    NotAFolder(PathBuf),
    /// No work has been begun in the folder.
    #[error("no work was begun in {}", .0.display())]
    NoWork(PathBuf),
    /// What the folder says of its work can't be understood.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An input changed while it was read.
    #[error("{} has changed since the work began: {why}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// Units are missing.
    #[error("{count} of {units} units missing: {}", shown(missing))]
    Missing {
        /// Their names, or the shards that they are of.
        missing: Vec<String>,
        /// How many.
        count: usize,
        /// Units of the whole.
        units: usize,
    },
    /// More rows failed than is allowed.
    #[error("{errors} of {rows} rows failed, more than the {} % that are allowed; the first: {first}", rate * 100.0)]
    TooManyErrors {
        /// Rows that failed.
        errors: u64,
        /// Rows of the whole.
        rows: u64,
        /// The part that is allowed.
        rate: f64,
        /// The first of them.
        first: String,
    },
    /// Rows were lost.
    #[error("{rows_in} rows went in, {rows_out} came out and {errors} failed: rows are missing")]
    RowsLost {
        /// Rows of the input.
        rows_in: u64,
        /// Rows with vectors.
        rows_out: u64,
        /// Rows without.
        errors: u64,
    },
    /// Columns can't be put together.
    #[error("columns that go along can't be put together")]
    Columns(#[source] ArrowError),
    /// A thread ended without a word.
    #[error("a thread that {0} has ended early")]
    Thread(&'static str),
    /// The options don't fit the model, or the model failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// The first few of many.
fn shown(all: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > SHOWN {
        text.push_str(&format!(" and {} more", all.len() - SHOWN));
    }
    text
}

/// An error of reading `path`.
pub(super) fn unread(path: &Path) -> impl Fn(io::Error) -> CorpusError + '_ {
    |source| CorpusError::Read {
        path: path.to_owned(),
        source,
    }
}

/// An error of writing `path`.
pub(super) fn unwritten(path: &Path) -> impl Fn(io::Error) -> CorpusError + '_ {
    |source| CorpusError::Write {
        path: path.to_owned(),
        source,
    }
}

/// An error of reading the Parquet file `path`.
pub(super) fn unread_parquet(path: &Path) -> impl Fn(ParquetError) -> CorpusError + '_ {
    |source| CorpusError::Parquet {
        path: path.to_owned(),
        source,
    }
}

/// What `path` says can't be understood.
pub(super) fn damaged(path: &Path, why: &str) -> CorpusError {
    CorpusError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

//! What a caller asks for.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::CorpusError;
use super::template::Template;

/// Rows of a unit, where the caller doesn't say it: little enough to lose, and a file of a few MB.
pub const DEFAULT_UNIT_ROWS: u64 = 8192;

/// Which texts, and what goes along with their vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusSettings {
    /// Files, folders and globs.
    pub inputs: Vec<String>,
    /// Where a row's text is.
    pub text: TextFrom,
    /// The column that names a row; one without a value is a bad row.
    pub id: Option<String>,
    /// Columns that go along.
    pub keep: Keep,
    /// Most rows of a unit.
    pub unit_rows: u64,
    /// How long texts are split.
    pub chunks: Option<Chunks>,
    /// The files that are written.
    pub format: UnitFormat,
}

impl Default for CorpusSettings {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            text: TextFrom::Column("text".to_owned()),
            id: None,
            keep: Keep::Columns(Vec::new()),
            unit_rows: DEFAULT_UNIT_ROWS,
            chunks: None,
            format: UnitFormat::default(),
        }
    }
}

impl CorpusSettings {
    /// # Errors
    /// When settings contradict each other.
    pub(super) fn check(&self) -> Result<(), CorpusError> {
        let problem = match self.chunks {
            _ if self.inputs.is_empty() => "there is no input",
            _ if self.unit_rows == 0 => "a unit has a row at least",
            Some(chunks) if chunks.overlap >= chunks.tokens => {
                "chunks overlap by less than their length"
            }
            _ => return Ok(()),
        };
        Err(CorpusError::Settings(problem.to_owned()))
    }
}

/// Where a row's text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFrom {
    /// In a column.
    Column(String),
    /// Put together from several.
    Template(Template),
}

impl TextFrom {
    /// The columns that it is made of.
    pub(super) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column(column) => vec![column],
            Self::Template(template) => template.columns(),
        }
    }
}

impl Display for TextFrom {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(column) => f.write_str(column),
            Self::Template(template) => template.fmt(f),
        }
    }
}

/// Columns that go along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// These.
    Columns(Vec<String>),
    /// All but those of the text.
    All,
}

/// How long texts are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunks {
    /// Most tokens of a chunk, prompt and special tokens included.
    pub tokens: usize,
    /// Tokens that a chunk shares with the one before.
    pub overlap: usize,
}

/// The files that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitFormat {
    /// All in one, as columns.
    #[default]
    Parquet,
    /// Vectors as an array of NumPy's, with NaN (zeros, where there is none) for a row that has no
    /// vector; the other columns as JSON Lines, in the same order; and where they come from as JSON.
    Npy,
}

impl UnitFormat {
    pub(super) const PARQUET: [&'static str; 1] = ["parquet"];
    pub(super) const NPY: [&'static str; 3] = ["json", "jsonl", "npy"];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Npy => "npy",
        }
    }

    /// How its files end. The last one is written last: with it the unit is there.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Parquet => &Self::PARQUET,
            Self::Npy => &Self::NPY,
        }
    }

    pub(super) fn last_ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Npy => "npy",
        }
    }
}

impl FromStr for UnitFormat {
    type Err = CorpusError;

    fn from_str(text: &str) -> Result<Self, CorpusError> {
        match text {
            "parquet" => Ok(Self::Parquet),
            "npy" => Ok(Self::Npy),
            other => Err(CorpusError::Settings(format!(
                "the format is parquet or npy, not {other:?}"
            ))),
        }
    }
}

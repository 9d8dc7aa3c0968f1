//! Formats of files, and which one a name asks for.

use std::path::Path;

use akidb_embedding::choice;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object in the shape of OpenAI's embeddings API.
    Json,
    /// One object a line.
    Jsonl,
    /// A NumPy array [texts, values].
    Npy,
    /// A header, then one line a text.
    Csv,
    /// One line a text, values parted by spaces.
    Text,
    /// Parquet: the vectors as a column of lists of one length, beside what goes along.
    #[cfg(feature = "corpus")]
    Parquet,
}

choice!(Format, "format",
    Json = "json": "One object in the shape of OpenAI's embeddings API",
    Jsonl = "jsonl": "One object a line",
    Npy = "npy": "A NumPy array [texts, values]",
    Csv = "csv": "A header, then one line a text",
    Text = "text": "One line a text, values parted by spaces",
    #[cfg(feature = "corpus")]
    Parquet = "parquet": "A table of columns, for pyarrow, DuckDB, Polars, Spark …",
);

impl Format {
    /// The format that a file's name asks for by its ending.
    pub fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "npy" => Some(Self::Npy),
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Text),
            #[cfg(feature = "corpus")]
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Whether something can stand in the place of a row that failed: an object, or a row without vector.
    pub fn has_error_objects(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl) || self.is_parquet()
    }

    /// Whether there is a place for ids and other fields of the input.
    pub fn has_fields(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl | Self::Csv) || self.is_parquet()
    }

    /// Whether its bytes are for programs alone.
    pub fn is_binary(self) -> bool {
        self == Self::Npy || self.is_parquet()
    }

    /// Whether its lines are worth something without the rest: each says which row it is.
    pub(crate) fn keeps_lines(self) -> bool {
        matches!(self, Self::Jsonl | Self::Csv)
    }

    /// Whether it is put together beside the output: json is printed whole or not at all, the head of npy
    /// has the number of rows, and the columns of Parquet have the types of all rows.
    pub(crate) fn is_spooled(self) -> bool {
        matches!(self, Self::Json | Self::Npy) || self.is_parquet()
    }

    #[cfg(feature = "corpus")]
    pub(super) fn is_parquet(self) -> bool {
        self == Self::Parquet
    }

    #[cfg(not(feature = "corpus"))]
    pub(super) fn is_parquet(self) -> bool {
        false
    }
}

//! Vectors in one of the formats, to a destination.

use std::io::{self, Seek, Write};
use std::path::PathBuf;

use akidb_embedding::{Embedding, Provenance};
use tempfile::{SpooledTempFile, spooled_tempfile};

use super::json::{self, Item};
use super::{FailedRow, Format, VectorWriter, csv, npy, text};
use crate::destination::{Destination, Kind};
use crate::error::BulkError;
use crate::row::{Columns, Row};

/// Items kept in memory before they go to a temporary file, in bytes.
const SPOOL_BYTES: usize = 16 << 20;

/// Fields of answers, whose names fields of the input can't have.
const RESERVED: [&str; 10] = [
    "embedding",
    "fallback",
    "id",
    "index",
    "line",
    "model",
    "object",
    "scale",
    "tokens",
    "truncated",
];

/// Writes embeddings in one format; a file appears when it is whole.
pub struct FileWriter {
    format: Format,
    provenance: Provenance,
    columns: Columns,
    destination: Destination,
    /// Holds the items of formats that are put together beside the output.
    spool: Option<SpooledTempFile>,
    #[cfg(feature = "corpus")]
    types: super::parquet::Types,
    /// Vectors written.
    vectors: usize,
    /// Vectors and error objects written.
    items: u64,
    tokens: u64,
    /// Number of the last row written, as people count.
    last: u64,
}

/// What an interrupt has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Line of the last row that was written, or its number; 0 before the first.
    pub last: u64,
    /// The file with the lines so far, where they are worth something and it is a file.
    pub kept: Option<PathBuf>,
}

impl FileWriter {
    /// Writes vectors of this provenance, of rows that have these columns.
    ///
    /// # Errors
    /// When the format has no place for a column, or the destination can't be written.
    pub fn new(
        format: Format,
        destination: Destination,
        provenance: Provenance,
        columns: Columns,
    ) -> Result<Self, BulkError> {
        check(format, &columns)?;
        let mut writer = Self {
            format,
            provenance,
            columns,
            destination,
            spool: format.is_spooled().then(|| spooled_tempfile(SPOOL_BYTES)),
            #[cfg(feature = "corpus")]
            types: super::parquet::Types::default(),
            vectors: 0,
            items: 0,
            tokens: 0,
            last: 0,
        };
        if format == Format::Csv {
            let out = &mut writer.destination;
            let written = csv::header(out, &writer.columns, &writer.provenance);
            written.map_err(|source| writer.unwritten(source))?;
        }
        Ok(writer)
    }

    /// Writes what is left; only now does an output file appear under its name.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self) -> Result<(), BulkError> {
        self.try_finish().map_err(|source| BulkError::Write {
            to: self.destination.name().to_owned(),
            source,
        })?;
        self.destination.finish()
    }

    fn try_finish(&mut self) -> io::Result<()> {
        let out = &mut self.destination;
        if let Some(spool) = &mut self.spool {
            spool.rewind()?;
            #[cfg(feature = "corpus")]
            if self.format == Format::Parquet {
                let aside = io::BufReader::new(spool);
                self.types
                    .write(aside, out, &self.columns, &self.provenance)?;
                return out.flush();
            }
            match self.format {
                Format::Json => json::head(out, &self.provenance)?,
                _ => npy::head(
                    out,
                    self.vectors,
                    &self.provenance.encoding,
                    self.provenance.dimension,
                )?,
            }
            io::copy(spool, out)?;
            if self.format == Format::Json {
                json::tail(out, self.tokens, &self.provenance)?;
            }
        }
        out.flush()
    }

    /// Ends before all rows are there. Whole lines are kept where each says which row it is; what
    /// would be half a file is deleted.
    ///
    /// # Errors
    /// When what there is can't be written.
    pub fn interrupt(mut self) -> Result<Interrupted, BulkError> {
        let to = self.destination.name().to_owned();
        let failed = |source| BulkError::Write { to, source };
        let mut kept = None;
        if self.spool.is_none() {
            let flushed = self.destination.flush();
            kept = match (self.destination.0, flushed) {
                (_, Err(error)) => return Err(failed(error)),
                (Kind::File(file), _) if self.format.keeps_lines() && self.items > 0 => {
                    Some(file.keep_partial().map_err(failed)?)
                }
                _ => None,
            };
        }
        let last = self.last;
        Ok(Interrupted { last, kept })
    }

    fn try_write(&mut self, row: &Row, embedding: &Embedding) -> io::Result<()> {
        let (columns, provenance) = (&self.columns, &self.provenance);
        let out: &mut dyn Write = match &mut self.spool {
            Some(spool) => spool,
            None => &mut self.destination,
        };
        let item = |provenance| Item {
            row,
            keep: &columns.keep,
            embedding,
            provenance,
        };
        match self.format {
            Format::Json => {
                separate(out, self.items)?;
                serde_json::to_writer(out, &item(None))?;
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, &item(Some(provenance)))?;
                out.write_all(b"\n")?;
            }
            Format::Npy => npy::row(out, &embedding.values)?,
            Format::Csv => csv::line(out, columns, row, embedding)?,
            Format::Text => text::line(out, &embedding.values)?,
            #[cfg(feature = "corpus")]
            Format::Parquet => self.types.put(out, row, Ok(embedding))?,
        }
        self.vectors += 1;
        self.items += 1;
        self.tokens += embedding.tokens as u64;
        self.last = row.number();
        Ok(())
    }

    fn try_write_failed(&mut self, failed: &FailedRow<'_>) -> io::Result<()> {
        let out: &mut dyn Write = match &mut self.spool {
            Some(spool) => spool,
            None => &mut self.destination,
        };
        let object = failed.object(&self.columns);
        match self.format {
            Format::Json => {
                separate(out, self.items)?;
                serde_json::to_writer(out, &object)?;
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, &object)?;
                out.write_all(b"\n")?;
            }
            #[cfg(feature = "corpus")]
            Format::Parquet => self.types.put(out, failed.row, Err(failed.message()))?,
            // There is no place for it.
            Format::Npy | Format::Csv | Format::Text => return Ok(()),
        }
        self.items += 1;
        self.last = failed.row.number();
        Ok(())
    }

    fn unwritten(&self, source: io::Error) -> BulkError {
        let to = match &self.spool {
            Some(_) => "a temporary file",
            None => self.destination.name(),
        };
        let to = to.to_owned();
        BulkError::Write { to, source }
    }
}

impl VectorWriter for FileWriter {
    fn write(&mut self, row: &Row, embedding: &Embedding) -> Result<(), BulkError> {
        self.try_write(row, embedding)
            .map_err(|source| self.unwritten(source))
    }

    fn write_failed(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError> {
        self.try_write_failed(row)
            .map_err(|source| self.unwritten(source))
    }

    fn flush(&mut self) -> Result<(), BulkError> {
        let flushed = match &mut self.spool {
            Some(spool) => spool.flush(),
            None => self.destination.flush(),
        };
        flushed.map_err(|source| self.unwritten(source))
    }
}

/// A list's items are parted by commas.
fn separate(out: &mut dyn Write, items: u64) -> io::Result<()> {
    match items {
        0 => Ok(()),
        _ => out.write_all(b","),
    }
}

/// Refuses columns that the format has no place for.
fn check(format: Format, columns: &Columns) -> Result<(), BulkError> {
    let Columns { id, keep, .. } = columns;
    if !format.has_fields() && (*id || !keep.is_empty()) {
        let what = match keep.is_empty() {
            true => "ids".to_owned(),
            false => format!("the fields {}", keep.join(", ")),
        };
        let format = format.as_str();
        return Err(BulkError::NoPlace { format, what });
    }
    let value = |name: &str| {
        let digits = name.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let taken = |name: &&String| {
        RESERVED.contains(&name.as_str())
            || (format == Format::Csv && value(name))
            || (format.is_parquet() && *name == "error")
    };
    match keep.iter().find(taken) {
        Some(field) => Err(BulkError::Reserved {
            field: field.clone(),
        }),
        None => Ok(()),
    }
}

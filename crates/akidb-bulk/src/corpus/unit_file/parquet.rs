//! A unit as Parquet, compressed with zstd.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::schema::UnitSchema;
use super::summary::UnitSummary;
use crate::corpus::error::{CorpusError, damaged, unread, unread_parquet, unwritten};
use crate::corpus::file_state::Access;
use crate::corpus::input_file::InputFile;
use crate::corpus::settings::UnitFormat;
use crate::corpus::storage::{Draft, with_ending};
use crate::corpus::vectors;
use crate::corpus::window::WINDOW_ROWS;

/// Where a file says where its vectors come from, what they depend on, and how the work on it went.
const PROVENANCE: &str = "akidb.provenance";
const FINGERPRINT: &str = "akidb.fingerprint";
const SUMMARY: &str = "akidb.unit";

/// Rows of a row group, which is held until it is full: those that come at once.
const GROUP_ROWS: usize = WINDOW_ROWS;

/// Writes one unit.
pub(super) struct ParquetUnit {
    draft: Draft,
    writer: ArrowWriter<File>,
}

impl ParquetUnit {
    pub(super) fn create(
        schema: &UnitSchema,
        draft: impl Fn(&str) -> Result<Draft, CorpusError>,
    ) -> Result<Self, CorpusError> {
        let [ending] = UnitFormat::PARQUET;
        let draft = draft(ending)?;
        let file = draft.file.try_clone().map_err(unwritten(&draft.path))?;
        let metadata = [
            (PROVENANCE, &schema.provenance),
            (FINGERPRINT, &schema.fingerprint),
        ];
        let metadata = metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value.clone()));
        let properties = vectors::properties(metadata.to_vec(), GROUP_ROWS);
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema.schema), Some(properties));
        Ok(Self {
            writer: writer.map_err(|source| unwritten_parquet(&draft.path, source))?,
            draft,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), CorpusError> {
        let written = self.writer.write(batch);
        written.map_err(|source| unwritten_parquet(&self.draft.path, source))
    }

    pub(super) fn finish(mut self, summary: &UnitSummary) -> Result<Draft, CorpusError> {
        let summary = serde_json::to_string(summary);
        let summary = summary.map_err(|error| unwritten(&self.draft.path)(error.into()))?;
        let summary = KeyValue::new(SUMMARY.to_owned(), summary);
        self.writer.append_key_value_metadata(summary);
        let closed = self.writer.close();
        closed.map_err(|source| unwritten_parquet(&self.draft.path, source))?;
        Ok(self.draft)
    }
}

fn unwritten_parquet(path: &Path, source: ParquetError) -> CorpusError {
    let source = match source {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => return unwritten(path)(*error),
            Err(error) => ParquetError::External(error),
        },
        source => source,
    };
    CorpusError::WriteParquet {
        path: path.to_owned(),
        source,
    }
}

/// What a unit's file says.
pub(super) fn read_summary(path: &Path) -> Result<UnitSummary, CorpusError> {
    let [ending] = UnitFormat::PARQUET;
    let path = &with_ending(path, ending);
    let file = InputFile::open(path, Access::Footer).map_err(unread(path))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(unread_parquet(path))?;
    let file = metadata.metadata().file_metadata();
    let said = file.key_value_metadata().into_iter().flatten();
    let said = said
        .filter(|entry| entry.key == SUMMARY)
        .find_map(|entry| entry.value.as_ref());
    let said = said.ok_or_else(|| damaged(path, "it doesn't say how the work on it went"))?;
    serde_json::from_str(said).map_err(|error| damaged(path, &error.to_string()))
}

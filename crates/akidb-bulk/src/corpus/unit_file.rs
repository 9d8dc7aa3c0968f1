//! A unit's file: Parquet, compressed with zstd.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use akidb_embedding::{Provenance, Values};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::error::{CorpusError, unread, unread_parquet, unwritten};
use super::input_file::{Access, InputFile};
use super::plan::Plan;
use super::storage::Draft;
use super::vectors;
use super::window::{Answer, Window};

/// Where a unit's file says how its work went.
const SUMMARY: &str = "akidb.unit";

/// Rows of a row group.
const GROUP_ROWS: usize = super::window::WINDOW_ROWS;

/// How the work on a unit went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Rows of the input.
    pub rows: u64,
    /// Rows that have a vector.
    pub embedded: u64,
    /// Rows that have none.
    pub errors: u64,
    /// Vectors: more than rows where texts are split.
    pub vectors: u64,
    /// Tokens of all vectors.
    pub tokens: u64,
    /// Texts that were cut off.
    pub truncated: u64,
    /// What was wrong with the first row that has no vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

/// What all units of a plan have in common.
pub(super) struct UnitSchema {
    pub(super) schema: SchemaRef,
    properties: WriterProperties,
    kept: usize,
    /// Texts are split: which part it is goes along.
    is_split: bool,
    encoding: String,
    dimension: usize,
}

impl UnitSchema {
    pub(super) fn new(plan: &Plan, provenance: &Provenance) -> Result<Self, CorpusError> {
        let dimension = provenance.dimension;
        let mut fields = vec![
            Field::new("source_file", DataType::Utf8, false),
            Field::new("source_row", DataType::Int64, false),
        ];
        fields.extend(
            plan.kept
                .fields()
                .iter()
                .map(|field| field.as_ref().clone()),
        );
        let is_split = plan.settings.chunks.is_some();
        if is_split {
            fields.push(Field::new("chunk", DataType::Int32, true));
            fields.push(Field::new("start", DataType::Int64, true));
            fields.push(Field::new("end", DataType::Int64, true));
        }
        fields.extend(vectors::fields(provenance));
        fields.extend(vectors::outcome_fields());
        let json = |value: Result<String, serde_json::Error>| {
            value.map_err(|error| CorpusError::Settings(error.to_string()))
        };
        let metadata = [
            ("akidb.provenance", json(serde_json::to_string(provenance))?),
            (
                "akidb.fingerprint",
                json(serde_json::to_string(&plan.fingerprint))?,
            ),
        ];
        let metadata = metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let properties = vectors::properties(metadata.to_vec(), GROUP_ROWS);
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            properties,
            kept: plan.kept.fields().len(),
            is_split,
            encoding: provenance.encoding.clone(),
            dimension,
        })
    }

    /// A window and its answers as columns.
    pub(super) fn batch(
        &self,
        file: &str,
        window: &Window,
        answers: &[Answer],
    ) -> Result<RecordBatch, ArrowError> {
        let texts = window.texts.len();
        let row = |row: usize| i64::try_from(window.first_row).unwrap_or(i64::MAX) + row as i64;
        let rows = window.texts.iter().map(|text| row(text.row));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                file, texts,
            ))),
            Arc::new(Int64Array::from_iter_values(rows)),
        ];
        columns.extend(window.columns.iter().take(self.kept).cloned());
        if self.is_split {
            let spans = || window.texts.iter().map(|text| text.span);
            let chunks = spans().map(|span| Some(span?.chunk));
            columns.push(Arc::new(Int32Array::from_iter(chunks)));
            let starts = spans().map(|span| Some(span?.start));
            columns.push(Arc::new(Int64Array::from_iter(starts)));
            let ends = spans().map(|span| Some(span?.end));
            columns.push(Arc::new(Int64Array::from_iter(ends)));
        }
        let values = answers.iter().map(|answer| answer.as_ref().ok());
        let values: Vec<Option<&Values>> = values.map(|v| Some(&v?.values)).collect();
        columns.extend(vectors::columns(&values, &self.encoding, self.dimension)?);
        columns.extend(vectors::outcome_columns(answers.iter().map(|answer| {
            let vector = answer.as_ref().ok();
            (
                vector.map(|vector| vector.tokens),
                vector.map(|vector| vector.truncated),
                answer.as_ref().err().map(String::as_str),
            )
        })));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// Writes one unit.
pub(super) struct UnitFile {
    draft: Draft,
    writer: ArrowWriter<File>,
    pub(super) summary: UnitSummary,
}

impl UnitFile {
    pub(super) fn create(draft: Draft, schema: &UnitSchema) -> Result<Self, CorpusError> {
        let file = draft.file.try_clone().map_err(unwritten(&draft.path))?;
        let writer = ArrowWriter::try_new(
            file,
            Arc::clone(&schema.schema),
            Some(schema.properties.clone()),
        );
        Ok(Self {
            writer: writer.map_err(|source| unwritten_parquet(&draft.path, source))?,
            draft,
            summary: UnitSummary::default(),
        })
    }

    pub(super) fn write(
        &mut self,
        schema: &UnitSchema,
        file: &str,
        window: &Window,
        answers: &[Answer],
    ) -> Result<(), CorpusError> {
        let batch = schema.batch(file, window, answers);
        let failed = |source| unwritten_parquet(&self.draft.path, source);
        let batch = batch.map_err(|error| failed(error.into()))?;
        self.writer.write(&batch).map_err(failed)?;
        self.summary.count(window, answers);
        Ok(())
    }

    /// Writes what is left, and gives the file and how the work went.
    pub(super) fn finish(mut self) -> Result<(Draft, UnitSummary), CorpusError> {
        let summary = serde_json::to_string(&self.summary);
        let summary = summary.map_err(|error| unwritten(&self.draft.path)(error.into()))?;
        let summary = KeyValue::new(SUMMARY.to_owned(), summary);
        self.writer.append_key_value_metadata(summary);
        let closed = self.writer.close();
        closed.map_err(|source| unwritten_parquet(&self.draft.path, source))?;
        Ok((self.draft, self.summary))
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

impl UnitSummary {
    /// Takes in how the work on another unit went.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.embedded += other.embedded;
        self.errors += other.errors;
        self.vectors += other.vectors;
        self.tokens += other.tokens;
        self.truncated += other.truncated;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// A row has failed when one of its texts has.
    pub(super) fn count(&mut self, window: &Window, answers: &[Answer]) {
        self.rows += window.rows as u64;
        let mut failed: Option<usize> = None;
        for (text, answer) in window.texts.iter().zip(answers) {
            match answer {
                Ok(vector) => {
                    self.vectors += 1;
                    self.tokens += vector.tokens as u64;
                    self.truncated += u64::from(vector.truncated);
                }
                Err(error) => {
                    if failed != Some(text.row) {
                        failed = Some(text.row);
                        self.errors += 1;
                    }
                    if self.first_error.is_none() {
                        let row = window.first_row + text.row as u64;
                        self.first_error = Some(format!("row {row}: {error}"));
                    }
                }
            }
        }
        self.embedded = self.rows - self.errors;
    }

    /// What a unit's file says.
    pub(super) fn read(path: &Path) -> Result<Self, CorpusError> {
        let file = InputFile::open(path, Access::Footer).map_err(unread(path))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(unread_parquet(path))?;
        let damaged = |why: &str| CorpusError::Damaged {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let file = metadata.metadata().file_metadata();
        let said = file.key_value_metadata().into_iter().flatten();
        let said = said
            .filter(|entry| entry.key == SUMMARY)
            .find_map(|entry| entry.value.as_ref());
        let said = said.ok_or_else(|| damaged("it doesn't say how the work on it went"))?;
        serde_json::from_str(said).map_err(|error| damaged(&error.to_string()))
    }
}

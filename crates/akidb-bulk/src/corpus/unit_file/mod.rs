//! The files of a unit.

mod npy;
mod parquet;
mod schema;
mod summary;

use std::path::Path;

use self::npy::NpyUnit;
use self::parquet::ParquetUnit;
use super::error::CorpusError;
use super::settings::UnitFormat;
use super::storage::Draft;
use super::window::{Answer, Window};

pub(super) use schema::UnitSchema;
pub use summary::UnitSummary;

/// Writes one unit.
pub(super) struct UnitFile {
    writer: Writer,
    summary: UnitSummary,
}

enum Writer {
    Parquet(ParquetUnit),
    Npy(NpyUnit),
}

impl UnitFile {
    /// `draft` gives a file for each ending.
    pub(super) fn create(
        schema: &UnitSchema,
        draft: impl Fn(&str) -> Result<Draft, CorpusError>,
    ) -> Result<Self, CorpusError> {
        Ok(Self {
            writer: match schema.format {
                UnitFormat::Parquet => Writer::Parquet(ParquetUnit::create(schema, draft)?),
                UnitFormat::Npy => Writer::Npy(NpyUnit::create(schema, draft)?),
            },
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
        let batch = batch.map_err(CorpusError::Columns)?;
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(&batch)?,
            Writer::Npy(writer) => writer.write(schema, &batch, answers)?,
        }
        self.summary.count(window, answers);
        Ok(())
    }

    /// Writes what is left, and gives the files in the order of their format's endings, and how the work
    /// went.
    pub(super) fn finish(
        self,
        schema: &UnitSchema,
    ) -> Result<(Vec<Draft>, UnitSummary), CorpusError> {
        let files = match self.writer {
            Writer::Parquet(writer) => vec![writer.finish(&self.summary)?],
            Writer::Npy(writer) => writer.finish(schema, &self.summary)?,
        };
        Ok((files, self.summary))
    }
}

/// How the work on a unit went, as its files say: those of `format` at `path`, but for their endings.
pub(super) fn read_summary(path: &Path, format: UnitFormat) -> Result<UnitSummary, CorpusError> {
    match format {
        UnitFormat::Parquet => parquet::read_summary(path),
        UnitFormat::Npy => npy::read_summary(path),
    }
}

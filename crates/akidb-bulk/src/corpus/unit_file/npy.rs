//! A unit as an array of NumPy's, with the other columns beside it as JSON Lines.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use akidb_embedding::Values;
use arrow_array::RecordBatch;
use arrow_json::writer::{LineDelimitedWriter, WriterBuilder};
use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::UnitSchema;
use super::summary::UnitSummary;
use crate::corpus::error::{CorpusError, damaged, unread, unwritten};
use crate::corpus::file_state::Access;
use crate::corpus::input_file::InputFile;
use crate::corpus::settings::UnitFormat;
use crate::corpus::storage::{Draft, with_ending};
use crate::corpus::vectors::EMBEDDING;
use crate::corpus::window::Answer;
use crate::write::npy;

/// Most bytes of what says how the work on a unit went.
const MOST_BYTES: u64 = 16 << 20;

/// What the first file says.
#[derive(Serialize, Deserialize)]
struct About {
    provenance: Value,
    fingerprint: Value,
    unit: UnitSummary,
}

/// Writes one unit.
pub(super) struct NpyUnit {
    about: Draft,
    lines: Draft,
    line_writer: LineDelimitedWriter<BufWriter<File>>,
    vectors: Draft,
    vector_writer: BufWriter<File>,
    rows: usize,
    /// Of the array's header, which is written again with the number of rows.
    head_bytes: u64,
}

impl NpyUnit {
    pub(super) fn create(
        schema: &UnitSchema,
        draft: impl Fn(&str) -> Result<Draft, CorpusError>,
    ) -> Result<Self, CorpusError> {
        let [about, lines, vectors] = UnitFormat::NPY;
        let (about, lines, vectors) = (draft(about)?, draft(lines)?, draft(vectors)?);
        let writer = |draft: &Draft| -> Result<BufWriter<File>, CorpusError> {
            let file = draft.file.try_clone().map_err(unwritten(&draft.path))?;
            Ok(BufWriter::new(file))
        };
        let line_writer = WriterBuilder::new().with_explicit_nulls(true);
        let mut this = Self {
            line_writer: line_writer.build(writer(&lines)?),
            vector_writer: writer(&vectors)?,
            about,
            lines,
            vectors,
            rows: 0,
            head_bytes: 0,
        };
        this.head_bytes = this.write_head(schema)?;
        Ok(this)
    }

    /// How long it is.
    fn write_head(&mut self, schema: &UnitSchema) -> Result<u64, CorpusError> {
        let write = |out: &mut BufWriter<File>| -> io::Result<u64> {
            out.seek(SeekFrom::Start(0))?;
            npy::head(out, self.rows, &schema.encoding, schema.dimension)?;
            out.flush()?;
            out.stream_position()
        };
        write(&mut self.vector_writer).map_err(unwritten(&self.vectors.path))
    }

    pub(super) fn write(
        &mut self,
        schema: &UnitSchema,
        batch: &RecordBatch,
        answers: &[Answer],
    ) -> Result<(), CorpusError> {
        let fields = batch.schema_ref().fields().iter().enumerate();
        let others = fields.filter(|(_, field)| field.name() != EMBEDDING);
        let others: Vec<usize> = others.map(|(place, _)| place).collect();
        let others = batch.project(&others).map_err(CorpusError::Columns)?;
        let written = self.line_writer.write(&others);
        written.map_err(|error| unwritten(&self.lines.path)(io::Error::other(error)))?;
        let none = none(schema);
        for answer in answers {
            let values = answer.as_ref().map_or(&none, |vector| &vector.values);
            let written = npy::row(&mut self.vector_writer, values);
            written.map_err(unwritten(&self.vectors.path))?;
        }
        self.rows += answers.len();
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        schema: &UnitSchema,
        summary: &UnitSummary,
    ) -> Result<Vec<Draft>, CorpusError> {
        let failed = unwritten(&self.lines.path);
        let finished = self.line_writer.finish();
        finished.map_err(|error| failed(io::Error::other(error)))?;
        self.line_writer.get_mut().flush().map_err(failed)?;
        let head_bytes = self.write_head(schema)?;
        if head_bytes != self.head_bytes {
            let why = format!("{} rows are too many for its header", self.rows);
            return Err(unwritten(&self.vectors.path)(io::Error::other(why)));
        }
        let about = || -> io::Result<Vec<u8>> {
            Ok(serde_json::to_vec_pretty(&About {
                provenance: serde_json::from_str(&schema.provenance)?,
                fingerprint: serde_json::from_str(&schema.fingerprint)?,
                unit: summary.clone(),
            })?)
        };
        let written = about().and_then(|about| self.about.file.write_all(&about));
        written.map_err(unwritten(&self.about.path))?;
        Ok(vec![self.about, self.lines, self.vectors])
    }
}

/// The row of a text that has no vector.
fn none(schema: &UnitSchema) -> Values {
    let dimension = schema.dimension;
    match schema.encoding.as_str() {
        "f16" => Values::F16(vec![f16::NAN; dimension]),
        "int8" => Values::I8 {
            codes: vec![0; dimension],
            scale: 0.0,
        },
        "binary" => Values::Binary(vec![0; dimension.div_ceil(8)]),
        _ => Values::F32(vec![f32::NAN; dimension]),
    }
}

pub(super) fn read_summary(path: &Path) -> Result<UnitSummary, CorpusError> {
    let [about, ..] = UnitFormat::NPY;
    let path: &PathBuf = &with_ending(path, about);
    let file = InputFile::open(path, Access::Footer).map_err(unread(path))?;
    let mut content = Vec::new();
    let read = file.take(MOST_BYTES).read_to_end(&mut content);
    read.map_err(unread(path))?;
    let about: Result<About, _> = serde_json::from_slice(&content);
    let about = about.map_err(|error| damaged(path, &error.to_string()))?;
    Ok(about.unit)
}

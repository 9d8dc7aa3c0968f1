//! The columns of units.

use std::sync::Arc;

use akidb_embedding::{Provenance, Values};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use serde::Serialize;

use crate::corpus::error::CorpusError;
use crate::corpus::plan::Plan;
use crate::corpus::settings::UnitFormat;
use crate::corpus::vectors;
use crate::corpus::window::{Answer, Window};

/// What all units of a plan have in common.
pub(in crate::corpus) struct UnitSchema {
    pub(super) schema: SchemaRef,
    pub(super) format: UnitFormat,
    /// Where vectors come from, and what they depend on, as JSON.
    pub(super) provenance: String,
    pub(super) fingerprint: String,
    kept: usize,
    /// Texts are split: which part it is goes along.
    is_split: bool,
    pub(super) encoding: String,
    pub(super) dimension: usize,
}

impl UnitSchema {
    pub(in crate::corpus) fn new(
        plan: &Plan,
        provenance: &Provenance,
    ) -> Result<Self, CorpusError> {
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
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            format: plan.settings.format,
            provenance: json(provenance)?,
            fingerprint: json(&plan.fingerprint)?,
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

fn json(value: &impl Serialize) -> Result<String, CorpusError> {
    let text = serde_json::to_string(value);
    text.map_err(|error| CorpusError::Settings(error.to_string()))
}

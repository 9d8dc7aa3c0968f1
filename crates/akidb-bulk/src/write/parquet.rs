//! Parquet of one file: rows are put aside, and written as columns once their types are known.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use akidb_embedding::{Embedding, Provenance, Values};
use arrow_array::builder::Int64Builder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use half::f16;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::npy;
use crate::corpus::cells::{Cell, Column};
use crate::corpus::json_types::JsonTypes;
use crate::corpus::vectors;
use crate::row::{Columns, Row};

/// Rows of a row group.
const GROUP_ROWS: usize = 8192;

/// What is put aside of a row, before its vector's bytes.
#[derive(Serialize, Deserialize)]
struct Aside {
    line: Option<u64>,
    id: Option<Value>,
    kept: Vec<Value>,
    tokens: Option<usize>,
    truncated: Option<bool>,
    scale: Option<f32>,
    error: Option<String>,
}

/// The types of the id and of the fields that are kept, of all rows so far.
#[derive(Debug, Default)]
pub(super) struct Types {
    id: JsonTypes,
    kept: Vec<JsonTypes>,
}

impl Types {
    /// Puts a row aside, with its vector or with what is wrong with it.
    pub(super) fn put(
        &mut self,
        out: &mut dyn Write,
        row: &Row,
        vector: Result<&Embedding, String>,
    ) -> io::Result<()> {
        // A bad row may have no id.
        if let Some(id) = &row.id {
            self.id = self.id.union(JsonTypes::of(id));
        }
        self.kept
            .resize(self.kept.len().max(row.kept.len()), JsonTypes::default());
        for (types, value) in self.kept.iter_mut().zip(&row.kept) {
            *types = types.union(JsonTypes::of(value));
        }
        let found = vector.as_ref().ok();
        let aside = Aside {
            line: row.line,
            id: row.id.clone(),
            kept: row.kept.clone(),
            tokens: found.map(|embedding| embedding.tokens),
            truncated: found.map(|embedding| embedding.truncated),
            scale: found.and_then(|embedding| match &embedding.values {
                Values::I8 { scale, .. } => Some(*scale),
                _ => None,
            }),
            error: vector.as_ref().err().cloned(),
        };
        serde_json::to_writer(&mut *out, &aside)?;
        out.write_all(b"\n")?;
        match found {
            Some(embedding) => npy::row(out, &embedding.values),
            None => Ok(()),
        }
    }

    /// Writes what was put aside as columns.
    pub(super) fn write(
        &self,
        mut aside: impl BufRead,
        out: &mut (dyn Write + Send),
        columns: &Columns,
        provenance: &Provenance,
    ) -> io::Result<()> {
        let kept = columns.keep.iter().enumerate().map(|(place, name)| {
            let types = self.kept.get(place).copied().unwrap_or_default();
            Field::new(name, types.data_type(), true)
        });
        let id = Field::new("id", self.id.data_type(), true);
        let ids = columns.id.then_some(id).into_iter();
        let types: Vec<Field> = ids.chain(kept).collect();
        let line = Field::new("line", DataType::Int64, true);
        let mut fields: Vec<Field> = columns.line.then_some(line).into_iter().collect();
        fields.extend(types.iter().cloned());
        fields.extend(vectors::fields(provenance));
        fields.extend(vectors::outcome_fields());
        let schema = Arc::new(Schema::new(fields));
        let metadata = serde_json::to_string(provenance)?;
        let metadata = KeyValue::new("akidb.provenance".to_owned(), metadata);
        let properties = vectors::properties(vec![metadata], GROUP_ROWS);
        let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        loop {
            let rows = Group::read(&mut aside, columns, provenance)?;
            if rows.0.is_empty() {
                writer.close()?;
                return Ok(());
            }
            let arrays = rows.columns(columns, &types, provenance);
            let batch = arrays.and_then(|arrays| RecordBatch::try_new(Arc::clone(&schema), arrays));
            writer.write(&batch.map_err(io::Error::other)?)?;
        }
    }
}

/// Rows of a row group, with their vectors.
struct Group(Vec<(Aside, Option<Values>)>);

impl Group {
    fn read(
        aside: &mut impl BufRead,
        columns: &Columns,
        provenance: &Provenance,
    ) -> io::Result<Self> {
        let mut rows = Vec::new();
        let mut line = Vec::new();
        while rows.len() < GROUP_ROWS {
            line.clear();
            if aside.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let row: Aside = serde_json::from_slice(&line)?;
            debug_assert_eq!(row.kept.len(), columns.keep.len());
            let values = match row.error {
                None => Some(vector(aside, provenance, row.scale)?),
                Some(_) => None,
            };
            rows.push((row, values));
        }
        Ok(Self(rows))
    }

    fn columns(
        &self,
        columns: &Columns,
        types: &[Field],
        provenance: &Provenance,
    ) -> Result<Vec<ArrayRef>, arrow_schema::ArrowError> {
        let rows = || self.0.iter().map(|(row, _)| row);
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if columns.line {
            let mut lines = Int64Builder::new();
            rows()
                .for_each(|row| lines.append_option(row.line.and_then(|n| i64::try_from(n).ok())));
            arrays.push(Arc::new(lines.finish()));
        }
        let ids = usize::from(columns.id);
        for (place, field) in types.iter().enumerate() {
            let mut column = Column::new(field.data_type());
            for row in rows() {
                let value = match place.checked_sub(ids) {
                    Some(place) => row.kept.get(place),
                    None => row.id.as_ref(),
                };
                column.push(value.map_or(Cell::Null, Cell::Json));
            }
            arrays.push(column.finish());
        }
        let vectors: Vec<Option<&Values>> = self.0.iter().map(|(_, v)| v.as_ref()).collect();
        let (encoding, dimension) = (&provenance.encoding, provenance.dimension);
        arrays.extend(vectors::columns(&vectors, encoding, dimension)?);
        let outcomes = rows().map(|row| (row.tokens, row.truncated, row.error.as_deref()));
        arrays.extend(vectors::outcome_columns(outcomes));
        Ok(arrays)
    }
}

/// A vector's bytes, as [`npy::row`] has written them.
fn vector(
    aside: &mut impl Read,
    provenance: &Provenance,
    scale: Option<f32>,
) -> io::Result<Values> {
    let dimension = provenance.dimension;
    let mut bytes = |width: usize| {
        let mut bytes = vec![0; width];
        aside.read_exact(&mut bytes).map(|()| bytes)
    };
    Ok(match provenance.encoding.as_str() {
        "f16" => {
            let bytes = bytes(2 * dimension)?;
            let values = bytes.as_chunks::<2>().0.iter();
            Values::F16(values.map(|x| f16::from_le_bytes(*x)).collect())
        }
        "int8" => Values::I8 {
            codes: bytes(dimension)?.iter().map(|x| x.cast_signed()).collect(),
            scale: scale.unwrap_or_default(),
        },
        "binary" => Values::Binary(bytes(dimension.div_ceil(8))?),
        _ => {
            let bytes = bytes(4 * dimension)?;
            let values = bytes.as_chunks::<4>().0.iter();
            Values::F32(values.map(|x| f32::from_le_bytes(*x)).collect())
        }
    })
}

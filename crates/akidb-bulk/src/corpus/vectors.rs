//! The column of vectors in Parquet files.

use std::sync::Arc;

use akidb_embedding::{Provenance, Values};
use arrow_array::builder::{BooleanBuilder, Int32Builder, StringBuilder};
use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, Int8Array,
};
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};
use half::f16;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// The column of vectors.
pub(crate) const EMBEDDING: &str = "embedding";

/// The values of a vector within its column.
const ELEMENT: &str = "element";

/// `embedding`, and for int8 `scale`.
pub(crate) fn fields(provenance: &Provenance) -> Vec<Field> {
    let embedding = data_type(&provenance.encoding, provenance.dimension);
    let mut fields = vec![Field::new(EMBEDDING, embedding, true)];
    if provenance.encoding == "int8" {
        fields.push(Field::new("scale", DataType::Float32, true));
    }
    fields
}

fn data_type(encoding: &str, dimension: usize) -> DataType {
    let width = |values: usize| i32::try_from(values).unwrap_or(i32::MAX);
    let list = |data_type| {
        let element = Field::new(ELEMENT, data_type, false);
        DataType::FixedSizeList(Arc::new(element), width(dimension))
    };
    match encoding {
        "f16" => list(DataType::Float16),
        "int8" => list(DataType::Int8),
        "binary" => DataType::FixedSizeBinary(width(dimension.div_ceil(8))),
        _ => list(DataType::Float32),
    }
}

/// How files with vectors are written. Vectors have no two values alike, and nobody looks for one of them.
pub(crate) fn properties(metadata: Vec<KeyValue>, group_rows: usize) -> WriterProperties {
    let values = ColumnPath::from(vec![
        EMBEDDING.to_owned(),
        "list".to_owned(),
        ELEMENT.to_owned(),
    ]);
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(group_rows))
        .set_column_dictionary_enabled(values.clone(), false)
        .set_column_statistics_enabled(values, EnabledStatistics::None)
        .set_created_by(format!("akidb-embed {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(metadata))
        .build()
}

/// The columns of [`fields`]; zeros where there is no vector, which is null.
pub(crate) fn columns(
    vectors: &[Option<&Values>],
    encoding: &str,
    dimension: usize,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut columns = vec![embeddings(vectors, encoding, dimension)?];
    if encoding == "int8" {
        let scales = vectors.iter().map(|vector| match vector {
            Some(Values::I8 { scale, .. }) => Some(*scale),
            _ => None,
        });
        columns.push(Arc::new(Float32Array::from_iter(scales)));
    }
    Ok(columns)
}

/// What became of each text: `tokens`, `truncated`, `error`.
pub(crate) fn outcome_fields() -> [Field; 3] {
    [
        Field::new("tokens", DataType::Int32, true),
        Field::new("truncated", DataType::Boolean, true),
        Field::new("error", DataType::Utf8, true),
    ]
}

/// The columns of [`outcome_fields`].
pub(crate) fn outcome_columns<'a>(
    outcomes: impl Iterator<Item = (Option<usize>, Option<bool>, Option<&'a str>)>,
) -> [ArrayRef; 3] {
    let (mut tokens, mut truncated) = (Int32Builder::new(), BooleanBuilder::new());
    let mut errors = StringBuilder::new();
    for (of_tokens, is_truncated, error) in outcomes {
        tokens.append_option(of_tokens.and_then(|tokens| i32::try_from(tokens).ok()));
        truncated.append_option(is_truncated);
        errors.append_option(error);
    }
    [
        Arc::new(tokens.finish()),
        Arc::new(truncated.finish()),
        Arc::new(errors.finish()),
    ]
}

fn embeddings(
    vectors: &[Option<&Values>],
    encoding: &str,
    dimension: usize,
) -> Result<ArrayRef, ArrowError> {
    let nulls = NullBuffer::from_iter(vectors.iter().map(Option::is_some));
    let (element, width) = match data_type(encoding, dimension) {
        DataType::FixedSizeList(element, width) => (element, width),
        DataType::FixedSizeBinary(width) => {
            let bytes = flat(vectors, dimension.div_ceil(8), |values| match values {
                Values::Binary(bytes) => bytes,
                _ => &[],
            });
            let array = FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), Some(nulls))?;
            return Ok(Arc::new(array));
        }
        other => return Err(ArrowError::SchemaError(format!("vectors are no {other}"))),
    };
    let values: ArrayRef = match element.data_type() {
        DataType::Float16 => {
            let flat: Vec<f16> = flat(vectors, dimension, |values| match values {
                Values::F16(values) => values,
                _ => &[],
            });
            Arc::new(Float16Array::new(ScalarBuffer::from(flat), None))
        }
        DataType::Int8 => {
            let flat: Vec<i8> = flat(vectors, dimension, |values| match values {
                Values::I8 { codes, .. } => codes,
                _ => &[],
            });
            Arc::new(Int8Array::new(ScalarBuffer::from(flat), None))
        }
        _ => {
            let flat: Vec<f32> = flat(vectors, dimension, |values| match values {
                Values::F32(values) => values,
                _ => &[],
            });
            Arc::new(Float32Array::new(ScalarBuffer::from(flat), None))
        }
    };
    let array = FixedSizeListArray::try_new(element, width, values, Some(nulls))?;
    Ok(Arc::new(array))
}

/// The numbers of all vectors, one after the other; `width` zeros for none.
fn flat<'a, T: Copy + Default + 'a>(
    vectors: &[Option<&'a Values>],
    width: usize,
    numbers: impl Fn(&'a Values) -> &'a [T],
) -> Vec<T> {
    let mut flat = Vec::new();
    for (row, vector) in vectors.iter().enumerate() {
        if let Some(values) = vector {
            flat.extend_from_slice(numbers(values));
        }
        // Every row has as many.
        flat.resize((row + 1) * width, T::default());
    }
    flat
}

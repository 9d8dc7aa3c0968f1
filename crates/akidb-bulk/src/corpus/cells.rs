//! Columns that grow by rows, of the types that JSON has.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, LargeStringBuilder, StringBuilder,
};
use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::DataType;
use serde_json::Value;

/// A value on its way into a column.
pub(crate) enum Cell<'a> {
    Null,
    Text(&'a str),
    Json(&'a Value),
}

/// A column that grows by rows.
pub(crate) enum Column {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Utf8(StringBuilder),
    LargeUtf8(LargeStringBuilder),
    /// Of a type that only Parquet has: this file lacks the column.
    Nulls(DataType, usize),
}

impl Column {
    pub(crate) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Utf8 => Self::Utf8(StringBuilder::new()),
            DataType::LargeUtf8 => Self::LargeUtf8(LargeStringBuilder::new()),
            other => Self::Nulls(other.clone(), 0),
        }
    }

    pub(crate) fn push(&mut self, cell: Cell<'_>) {
        let json = match &cell {
            Cell::Json(value) => Some(*value),
            _ => None,
        };
        let text = || match &cell {
            Cell::Null | Cell::Json(Value::Null) => None,
            Cell::Text(text) => Some(Cow::Borrowed(*text)),
            Cell::Json(Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
            Cell::Json(other) => Some(Cow::Owned(other.to_string())),
        };
        match self {
            Self::Boolean(column) => column.append_option(json.and_then(Value::as_bool)),
            Self::Int64(column) => column.append_option(json.and_then(Value::as_i64)),
            Self::Float64(column) => column.append_option(json.and_then(Value::as_f64)),
            Self::Utf8(column) => column.append_option(text()),
            Self::LargeUtf8(column) => column.append_option(text()),
            Self::Nulls(_, rows) => *rows += 1,
        }
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut column) => Arc::new(column.finish()),
            Self::Int64(mut column) => Arc::new(column.finish()),
            Self::Float64(mut column) => Arc::new(column.finish()),
            Self::Utf8(mut column) => Arc::new(column.finish()),
            Self::LargeUtf8(mut column) => Arc::new(column.finish()),
            Self::Nulls(data_type, rows) => new_null_array(&data_type, rows),
        }
    }
}

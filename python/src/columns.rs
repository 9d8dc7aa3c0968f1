//! What a transform of tables adds to each row.

use std::sync::Arc;

use akidb_embedding::Encoding;
use arrow_array::builder::{BooleanBuilder, Int32Builder, StringBuilder};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::ArrowError;
use pyo3::prelude::*;

use crate::arrow::ArrowArray;
use crate::call::Answer;
use crate::failure::Failure;
use crate::vectors::Matrix;

/// The columns of `embed_columns`.
pub(crate) struct Columns {
    matrix: Matrix,
    sound: NullBufferBuilder,
    tokens: Int32Builder,
    truncated: BooleanBuilder,
    errors: StringBuilder,
}

impl Columns {
    pub(crate) fn new(rows: usize, dimension: usize, encoding: Encoding) -> PyResult<Self> {
        Ok(Self {
            matrix: Matrix::new(rows, dimension, encoding)?,
            sound: NullBufferBuilder::new(rows),
            tokens: Int32Builder::new(),
            truncated: BooleanBuilder::new(),
            errors: StringBuilder::new(),
        })
    }

    pub(crate) fn push(&mut self, answer: Result<Answer, Failure>) {
        self.sound.append(answer.is_ok());
        match answer {
            Ok(answer) => {
                self.matrix.push(&answer.values);
                self.tokens.append_option(i32::try_from(answer.tokens).ok());
                self.truncated.append_value(answer.truncated);
                self.errors.append_null();
            }
            Err(failure) => {
                self.matrix.push_zeros();
                self.tokens.append_null();
                self.truncated.append_null();
                self.errors.append_value(failure.message());
            }
        }
    }

    pub(crate) fn finish(mut self) -> Result<ArrowArray, ArrowError> {
        ArrowArray::of_columns(vec![
            ("embedding", self.matrix.into_arrow(self.sound.finish())?),
            ("tokens", Arc::new(self.tokens.finish())),
            ("truncated", Arc::new(self.truncated.finish())),
            ("error", Arc::new(self.errors.finish())),
        ])
    }
}

//! Vectors as Python has them.

use std::sync::Arc;

use akidb_embedding::{Encoding, Values};
use arrow_array::types::{Float16Type, Float32Type, Int8Type, UInt8Type};
use arrow_array::{ArrayRef, FixedSizeListArray, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};
use half::f16;
use numpy::{Element, PyArray, PyArrayMethods};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::call::Answer;

/// Vectors of one width, one after the other.
pub(crate) struct Matrix {
    rows: usize,
    width: usize,
    numbers: Numbers,
}

enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>),
    Bits(Vec<u8>),
}

impl Matrix {
    /// Room for `rows` vectors of `dimension` values.
    pub(crate) fn new(rows: usize, dimension: usize, encoding: Encoding) -> PyResult<Self> {
        fn room<T>(rows: usize, width: usize) -> PyResult<Vec<T>> {
            let mut room = Vec::new();
            let reserved = rows
                .checked_mul(width)
                .is_some_and(|numbers| room.try_reserve_exact(numbers).is_ok());
            match reserved {
                true => Ok(room),
                false => Err(PyMemoryError::new_err(format!(
                    "there is no room for {rows} vectors of {width} numbers"
                ))),
            }
        }
        let width = match encoding {
            Encoding::Binary => dimension.div_ceil(8),
            _ => dimension,
        };
        let numbers = match encoding {
            Encoding::F32 => Numbers::F32(room(rows, width)?),
            Encoding::F16 => Numbers::F16(room(rows, width)?),
            Encoding::I8 => Numbers::I8(room(rows, width)?),
            Encoding::Binary => Numbers::Bits(room(rows, width)?),
        };
        Ok(Self {
            rows: 0,
            width,
            numbers,
        })
    }

    /// Adds a vector, in the encoding that the matrix is of.
    pub(crate) fn push(&mut self, values: &Values) {
        match (&mut self.numbers, values) {
            (Numbers::F32(numbers), Values::F32(values)) => numbers.extend_from_slice(values),
            (Numbers::F16(numbers), Values::F16(values)) => numbers.extend_from_slice(values),
            (Numbers::I8(numbers), Values::I8 { codes, .. }) => numbers.extend_from_slice(codes),
            (Numbers::Bits(numbers), Values::Binary(bytes)) => numbers.extend_from_slice(bytes),
            // Answers of a call have the encoding that it asked for.
            _ => return,
        }
        self.rows += 1;
    }

    /// Adds zeros, for a text without a vector.
    pub(crate) fn push_zeros(&mut self) {
        self.rows += 1;
        let len = self.rows * self.width;
        match &mut self.numbers {
            Numbers::F32(numbers) => numbers.resize(len, 0.0),
            Numbers::F16(numbers) => numbers.resize(len, f16::ZERO),
            Numbers::I8(numbers) => numbers.resize(len, 0),
            Numbers::Bits(numbers) => numbers.resize(len, 0),
        }
    }

    /// A numpy array, rows × width, of the same memory.
    pub(crate) fn into_numpy(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        fn array<T: Element>(
            py: Python<'_>,
            numbers: Vec<T>,
            shape: [usize; 2],
        ) -> PyResult<Bound<'_, PyAny>> {
            Ok(PyArray::from_vec(py, numbers).reshape(shape)?.into_any())
        }
        let shape = [self.rows, self.width];
        match self.numbers {
            Numbers::F32(numbers) => array(py, numbers, shape),
            Numbers::F16(numbers) => array(py, numbers, shape),
            Numbers::I8(numbers) => array(py, numbers, shape),
            Numbers::Bits(numbers) => array(py, numbers, shape),
        }
    }

    /// An Arrow array of fixed-size lists, of the same memory.
    pub(crate) fn into_arrow(self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let numbers: ArrayRef = match self.numbers {
            Numbers::F32(n) => Arc::new(PrimitiveArray::<Float32Type>::new(n.into(), None)),
            Numbers::F16(n) => Arc::new(PrimitiveArray::<Float16Type>::new(n.into(), None)),
            Numbers::I8(n) => Arc::new(PrimitiveArray::<Int8Type>::new(n.into(), None)),
            Numbers::Bits(n) => Arc::new(PrimitiveArray::<UInt8Type>::new(
                ScalarBuffer::from(n),
                None,
            )),
        };
        let item = item(numbers.data_type().clone());
        let width = i32::try_from(self.width)
            .map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
        let list = FixedSizeListArray::try_new(item, width, numbers, nulls)?;
        Ok(Arc::new(list))
    }
}

fn item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", kind, false))
}

/// One text's vector.
#[pyclass(module = "akidb_embedding", frozen)]
pub(crate) struct Embedding {
    /// The numbers: a numpy array of one dimension.
    #[pyo3(get)]
    vector: Py<PyAny>,
    /// What a step of an int8 code is worth: value ≈ code × scale. None in other encodings.
    #[pyo3(get)]
    scale: Option<f32>,
    /// Tokens that the model saw, special tokens included.
    #[pyo3(get)]
    tokens: usize,
    /// Whether the text was longer than the limit, and was cut.
    #[pyo3(get)]
    truncated: bool,
}

impl Embedding {
    pub(crate) fn new(py: Python<'_>, answer: Answer) -> Self {
        fn array<T: Element>(py: Python<'_>, values: Vec<T>) -> Py<PyAny> {
            PyArray::from_vec(py, values).into_any().unbind()
        }
        let (vector, scale) = match answer.values {
            Values::F32(values) => (array(py, values), None),
            Values::F16(values) => (array(py, values), None),
            Values::I8 { codes, scale } => (array(py, codes), Some(scale)),
            Values::Binary(bytes) => (array(py, bytes), None),
        };
        Self {
            vector,
            scale,
            tokens: answer.tokens,
            truncated: answer.truncated,
        }
    }
}

#[pymethods]
impl Embedding {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let numbers = self.vector.bind(py).len()?;
        let truncated = if self.truncated { ", truncated" } else { "" };
        Ok(format!(
            "Embedding({numbers} numbers, {} tokens{truncated})",
            self.tokens
        ))
    }
}

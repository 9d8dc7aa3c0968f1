//! Arrow arrays that Python takes over without a copy.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{ArrowError, Field, FieldRef, Fields};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use pyo3_arrow::error::PyArrowResult;
use pyo3_arrow::ffi::{to_array_pycapsules, to_schema_pycapsule};

/// An Arrow array, for whatever takes one: `pyarrow.array(x)`, `polars.Series(x)`,
/// `pyarrow.record_batch(x)` where it has columns. No number is copied.
#[pyclass(module = "akidb_embedding", frozen)]
pub(crate) struct ArrowArray {
    array: ArrayRef,
    field: FieldRef,
}

impl ArrowArray {
    pub(crate) fn new(array: ArrayRef) -> Self {
        let field = Field::new("", array.data_type().clone(), array.is_nullable());
        Self {
            array,
            field: Arc::new(field),
        }
    }

    /// Columns of one length.
    pub(crate) fn of_columns(columns: Vec<(&str, ArrayRef)>) -> Result<Self, ArrowError> {
        let (fields, arrays): (Vec<_>, Vec<_>) = columns
            .into_iter()
            .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
            .unzip();
        let array = StructArray::try_new(Fields::from(fields), arrays, None)?;
        let field = Field::new("", array.data_type().clone(), false);
        Ok(Self {
            array: Arc::new(array),
            field: Arc::new(field),
        })
    }
}

/// An error of Arrow's that no input reaches.
pub(crate) fn unexpected(error: ArrowError) -> PyErr {
    PyRuntimeError::new_err(format!("the vectors make no Arrow array: {error}"))
}

#[pymethods]
impl ArrowArray {
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyArrowResult<Bound<'py, PyTuple>> {
        to_array_pycapsules(py, Arc::clone(&self.field), &self.array, requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyArrowResult<Bound<'py, PyCapsule>> {
        to_schema_pycapsule(py, self.field.as_ref())
    }

    fn __len__(&self) -> usize {
        self.array.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "ArrowArray({}, {})",
            self.array.len(),
            self.array.data_type()
        )
    }
}

//! Texts that come from Python: its own strings, or Arrow's.

use std::str;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyList, PyMapping, PyString, PyTuple};
use pyo3_arrow::input::AnyArray;

use crate::failure::Failure;

/// A text, or what is wrong with it.
pub(crate) type Text<'a> = Result<&'a str, Box<Failure>>;

/// The texts of a call. What is wrong with one of them is told in its place.
pub(crate) enum Texts {
    Strings(Vec<Result<PyBackedStr, Box<Failure>>>),
    /// Arrays of bytes, or of nothing; the bytes may be no text.
    Arrow(Vec<ArrayRef>),
}

impl Texts {
    /// A single text: a query.
    pub(crate) fn one(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        match string(0, text) {
            Ok(text) => Ok(Self::Strings(vec![Ok(text)])),
            Err(failure) => Err(failure.of_query().into()),
        }
    }

    pub(crate) fn of(texts: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = texts.py();
        if let Ok(list) = texts.cast::<PyList>() {
            return Ok(Self::strings(list.iter()));
        }
        if let Ok(tuple) = texts.cast::<PyTuple>() {
            return Ok(Self::strings(tuple.iter()));
        }
        let single = texts.is_instance_of::<PyString>()
            || texts.is_instance_of::<PyBytes>()
            || texts.is_instance_of::<PyByteArray>();
        if single || texts.cast::<PyMapping>().is_ok() && !has_arrow(texts)? {
            return Err(not_texts(texts, " (for one text: [text], or embed_query)"));
        }
        if has_arrow(texts)? {
            match texts.extract::<AnyArray>() {
                Ok(array) => return arrow(texts, array),
                // pandas has the method, and needs pyarrow for it.
                Err(error) if error.is_instance_of::<PyImportError>(py) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(to_list) = texts.getattr_opt(intern!(py, "tolist"))? {
            let list = to_list.call0()?;
            let list = list.cast::<PyList>();
            return list
                .map(|list| Self::strings(list.iter()))
                .map_err(|_| not_texts(texts, ""));
        }
        let items = texts.try_iter().map_err(|_| not_texts(texts, ""))?;
        let mut strings = Vec::new();
        for item in items {
            strings.push(string(strings.len(), &item?));
        }
        Ok(Self::Strings(strings))
    }

    fn strings<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>) -> Self {
        let strings = items.enumerate().map(|(index, item)| string(index, &item));
        Self::Strings(strings.collect())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Strings(strings) => strings.len(),
            Self::Arrow(chunks) => chunks.iter().map(|chunk| chunk.len()).sum(),
        }
    }

    /// Each text, or what is wrong with it.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = Text<'_>> + '_> {
        match self {
            Self::Strings(strings) => Box::new(strings.iter().map(|string| match string {
                Ok(string) => Ok(string.as_str()),
                Err(failure) => Err(failure.clone()),
            })),
            Self::Arrow(chunks) => {
                let values = chunks.iter().flat_map(|chunk| bytes(chunk));
                Box::new(values.enumerate().map(|(index, value)| {
                    let value = value.ok_or_else(|| not_a_text(index, "null"))?;
                    str::from_utf8(value).map_err(|error| not_utf8(index, &error.to_string()))
                }))
            }
        }
    }
}

fn has_arrow(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    Ok(object.hasattr(intern!(py, "__arrow_c_array__"))?
        || object.hasattr(intern!(py, "__arrow_c_stream__"))?)
}

fn not_texts(object: &Bound<'_, PyAny>, more: &str) -> PyErr {
    let name = object.get_type().name();
    let name = name.map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "texts are a list, an array or a column of str, not {name}{more}"
    ))
}

fn not_a_text(index: usize, what: &str) -> Box<Failure> {
    let failure = Failure::new(
        "NotTextError",
        format!("the text at index {index} is {what}, not a str"),
    )
    .hint("leave it out, or put a text in its place")
    .of_text(index);
    Box::new(failure)
}

fn not_utf8(index: usize, why: &str) -> Box<Failure> {
    let failure = Failure::new(
        "TextError",
        format!("the text at index {index} isn't Unicode: {why}"),
    )
    .hint("text.encode(errors=\"replace\").decode() has a ? in each such place")
    .of_text(index);
    Box::new(failure)
}

fn string(index: usize, item: &Bound<'_, PyAny>) -> Result<PyBackedStr, Box<Failure>> {
    let py = item.py();
    if let Ok(text) = item.cast::<PyString>() {
        return PyBackedStr::try_from(text.clone())
            .map_err(|error| not_utf8(index, &error.value(py).to_string()));
    }
    Err(match item.get_type().name() {
        _ if item.is_none() => not_a_text(index, "None"),
        _ if item.cast::<PyFloat>().is_ok_and(|f| f.value().is_nan()) => {
            not_a_text(index, "NaN (a missing value)")
        }
        Ok(name) => not_a_text(index, &format!("of type {name}")),
        Err(_) => not_a_text(index, "something else"),
    })
}

fn arrow(object: &Bound<'_, PyAny>, array: AnyArray) -> PyResult<Texts> {
    let (chunks, field) = array.into_chunked_array()?.into_inner();
    let chunks: Result<Vec<_>, ArrowError> = match field.data_type() {
        DataType::Struct(fields) => {
            let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
            let more = format!(": give one of its columns, {}", names.join(", "));
            return Err(not_texts(object, &more));
        }
        kind => chunks.iter().map(|chunk| as_bytes(chunk, kind)).collect(),
    };
    let chunks = chunks.map_err(|error| PyTypeError::new_err(error.to_string()))?;
    Ok(Texts::Arrow(chunks))
}

/// The bytes of an array of texts, whose form is checked, but not that they are text.
fn as_bytes(array: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let array = match kind {
        DataType::Null => return Ok(array.clone()),
        DataType::Utf8 => cast(array, &DataType::Binary)?,
        DataType::LargeUtf8 => cast(array, &DataType::LargeBinary)?,
        DataType::Utf8View => cast(array, &DataType::BinaryView)?,
        DataType::Dictionary(_, values)
            if matches!(
                **values,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            ) =>
        {
            array.to_data().validate_full()?;
            cast(&cast(array, values)?, &bytes_type(values))?
        }
        kind => {
            let message = format!("texts are an Arrow array of strings, not of {kind}");
            return Err(ArrowError::InvalidArgumentError(message));
        }
    };
    array.to_data().validate_full()?;
    Ok(array)
}

fn bytes_type(texts: &DataType) -> DataType {
    match texts {
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::Utf8View => DataType::BinaryView,
        _ => DataType::Binary,
    }
}

fn bytes(array: &ArrayRef) -> Box<dyn Iterator<Item = Option<&[u8]>> + '_> {
    match array.data_type() {
        DataType::Binary => Box::new(array.as_binary::<i32>().iter()),
        DataType::LargeBinary => Box::new(array.as_binary::<i64>().iter()),
        DataType::BinaryView => Box::new(array.as_binary_view().iter()),
        _ => Box::new(std::iter::repeat_n(None, array.len())),
    }
}

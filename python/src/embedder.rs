//! `Embedder`, as Python has it.

use std::path::PathBuf;
use std::sync::Arc;

use akidb_embedding::{EmbedOptions, Provenance, Role, Scoring};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::arrow::{ArrowArray, unexpected};
use crate::call::{self, Steps, Tokenizer};
use crate::columns::Columns;
use crate::failure::{Failure, Stop};
use crate::handle::{Arguments, Handle};
use crate::model::Model;
use crate::options::{builder, options as options_of};
use crate::reranker::{Score, rerank};
use crate::signals::Signals;
use crate::texts::{Text, Texts};
use crate::vectors::{Embedding, Matrix};

/// A loaded model: texts go in, vectors come out.
///
/// `Embedder(model="akidb-mini", *, variant, precision, backend, threads, pooling, output, provider,
/// onnxruntime_library)`: `model` is an id, a directory, or an .onnx or .safetensors file; None is the
/// model that `akidb-embed models default` has set. Threads of Python may call it at the same time, and
/// share the model's passes. Raises `ModelNotFoundError`, `ModelFilesError`, `OptionError` or
/// `BackendError`.
#[pyclass(module = "akidb_embedding", frozen, weakref)]
pub(crate) struct Embedder(Handle);

impl Embedder {
    pub(crate) fn model(&self) -> Result<Arc<Model>, Failure> {
        self.0.model()
    }

    /// All vectors of a call, or the first failure.
    fn matrix(&self, py: Python<'_>, texts: &Texts, options: &EmbedOptions) -> PyResult<Matrix> {
        let model = self.model()?;
        let dimension = provenance(&model, options)?.dimension;
        let mut matrix = Matrix::new(texts.len(), dimension, options.encoding)?;
        let done = py.detach(|| {
            call::embed(&model, texts, options, |answer| {
                matrix.push(&answer?.values);
                Ok(())
            })
        });
        done?;
        Ok(matrix)
    }
}

fn provenance(model: &Model, options: &EmbedOptions) -> Result<Provenance, Failure> {
    Ok(model.embedder.provenance(options)?)
}

/// What vectors, or scores, come from.
pub(crate) fn provenance_dict(py: Python<'_>, from: Provenance) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("model", from.model)?;
    dict.set_item("revision", from.revision)?;
    dict.set_item("variant", from.variant)?;
    dict.set_item("precision", from.precision)?;
    dict.set_item("backend", from.backend)?;
    dict.set_item("device", from.device)?;
    dict.set_item("pooling", from.pooling)?;
    dict.set_item("instruction", from.instruction)?;
    dict.set_item("prompt", from.prompt)?;
    dict.set_item("task", from.task)?;
    dict.set_item("dimension", from.dimension)?;
    dict.set_item("normalized", from.normalized)?;
    dict.set_item("encoding", from.encoding)?;
    dict.set_item("fallback", from.fallback)?;
    dict.set_item("scoring", from.scoring.map(Scoring::as_str))?;
    dict.set_item("guesses", from.guesses)?;
    Ok(dict)
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (model = Some("akidb-mini".into()), **arguments))]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        arguments: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let builder = builder(model.clone(), arguments.as_ref())?;
        let loaded = py.detach(|| Model::load(builder))?;
        Ok(Self(Handle::new(loaded, model, arguments)))
    }

    /// Vectors of texts, one a row, in order: an array `[n, d]`.
    ///
    /// Parameters: `role` ("query" or "document"), `instruction` (the task of queries, in your words),
    /// or else `prompt` (put before each text as it is) or `prompt_name` (one of the model's);
    /// `dim` (the first so many values alone), `normalize` (length 1, as a rule),
    /// `encoding` ("f32" float32, "f16" float16, "int8" int8, "binary" uint8 with 8 signs a byte),
    /// `max_tokens`, `on_long` ("truncate", "truncate-start", "truncate-end" or "error").
    ///
    /// Raises `TypeError` for what isn't a list of texts, `TextError` (with `index`) for a text that
    /// can't be embedded, `OptionError` for an option that doesn't fit the model, `BackendError` when
    /// the model fails.
    #[pyo3(signature = (texts, **options))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let texts = Texts::of(texts)?;
        let matrix = self.matrix(py, &texts, &options_of(options, None)?)?;
        matrix.into_numpy(py)
    }

    /// The vector of a query: an array `[d]`. Keywords are those of `embed`.
    ///
    /// Raises what `embed` does.
    #[pyo3(signature = (text, **options))]
    fn embed_query<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let texts = Texts::one(text)?;
        let with_prompt = |options: &Bound<'py, PyDict>| {
            let is_said =
                |keyword| matches!(options.get_item(keyword), Ok(Some(o)) if !o.is_none());
            is_said("prompt") || is_said("prompt_name")
        };
        let role = (!options.is_some_and(with_prompt)).then_some(Role::Query);
        let matrix = self.matrix(py, &texts, &options_of(options, role)?)?;
        matrix.into_numpy(py)?.get_item(0)
    }

    /// An `Embedding` of each text or the exception that says what is wrong with it: a list of n.
    /// Keywords are those of `embed`.
    ///
    /// Raises `OptionError` for an option that doesn't fit the model, `BackendError` when the model
    /// fails as a whole.
    #[pyo3(signature = (texts, **options))]
    fn embed_each<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let texts = Texts::of(texts)?;
        let options = options_of(options, None)?;
        let model = self.model()?;
        let mut answers = Vec::new();
        let done = py.detach(|| {
            call::embed(&model, &texts, &options, |answer| {
                answers.push(answer);
                Ok(())
            })
        });
        done?;
        let list = PyList::empty(py);
        for answer in answers {
            match answer {
                Ok(answer) => list.append(Embedding::new(py, answer))?,
                Err(failure) => list.append(failure.into_exception(py)?)?,
            }
        }
        Ok(list)
    }

    /// Vectors of texts as an Arrow array of fixed-size lists, whose numbers nobody copies. Keywords
    /// are those of `embed`.
    ///
    /// Raises what `embed` does.
    #[pyo3(signature = (texts, **options))]
    fn embed_arrow<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<ArrowArray> {
        let texts = Texts::of(texts)?;
        let matrix = self.matrix(py, &texts, &options_of(options, None)?)?;
        Ok(ArrowArray::new(
            matrix.into_arrow(None).map_err(unexpected)?,
        ))
    }

    /// The columns `embedding` (fixed-size list), `tokens` (int32), `truncated` (bool) and `error`
    /// (string) of texts, as an Arrow record batch: where a text has an error, the others are null.
    /// Keywords are those of `embed`.
    ///
    /// Raises what `embed_each` does.
    #[pyo3(signature = (texts, **options))]
    fn embed_columns<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<ArrowArray> {
        let texts = Texts::of(texts)?;
        let options = options_of(options, None)?;
        let model = self.model()?;
        let dimension = provenance(&model, &options)?.dimension;
        let mut columns = Columns::new(texts.len(), dimension, options.encoding)?;
        let done = py.detach(|| {
            call::embed(&model, &texts, &options, |answer| {
                columns.push(answer);
                Ok(())
            })
        });
        done?;
        columns.finish().map_err(unexpected)
    }

    /// Documents for a query, the best first, by the cosine of their vectors: a list of `Score`. Keywords
    /// are those of `Reranker.rerank`.
    ///
    /// Raises what that does.
    #[pyo3(signature = (query, documents, **options))]
    fn rerank(
        &self,
        py: Python<'_>,
        query: &Bound<'_, PyAny>,
        documents: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Score>> {
        rerank(py, &*self.model()?, query, documents, options)
    }

    /// The token ids of each text as the model sees them, prompt and special tokens included: a list
    /// of n lists. Keywords are those of `embed`.
    ///
    /// Raises what `embed` does.
    #[pyo3(signature = (texts, **options))]
    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<Vec<u32>>> {
        let texts = Texts::of(texts)?;
        let options = options_of(options, None)?;
        let model = self.model()?;
        let ids = py.detach(|| -> Result<_, Stop> {
            let texts: Vec<Text<'_>> = texts.iter().collect();
            let steps = Steps::Texts(&model.embedder, &options);
            let mut tokenizer = Tokenizer::new(steps, &texts);
            let mut signals = Signals::new();
            let mut ids = Vec::with_capacity(texts.len());
            loop {
                let group = tokenizer.group(&mut signals)?;
                if group.is_empty() {
                    return Ok(ids);
                }
                for tokens in group {
                    ids.push(tokens?.ids);
                }
            }
        });
        Ok(ids?)
    }

    /// What vectors made with these keywords come from: a dict of the model, its revision, variant,
    /// precision, backend, device, pooling, dimension, and what else there is to know.
    ///
    /// Raises `OptionError` for an option that doesn't fit the model.
    #[pyo3(signature = (**options))]
    fn provenance<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = options_of(options, None)?;
        let model = self.model()?;
        provenance_dict(py, provenance(&model, &options)?)
    }

    /// `provenance()` of the default options, and `max_tokens` (the longest text) and
    /// `has_query_prompt` with it: a dict.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.provenance(py, None)?;
        let model = self.model()?;
        dict.set_item("max_tokens", model.embedder.max_tokens())?;
        dict.set_item("has_query_prompt", model.embedder.has_query_prompt())?;
        Ok(dict)
    }

    /// Gives the model's memory back, once the calls that run are done. Calls that come later raise
    /// `ClosedError`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    /// Pickled is how it was made: who unpickles it loads the model again.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> Arguments<'py> {
        self.0.arguments(py)
    }

    fn __repr__(&self) -> String {
        self.0.describe("Embedder")
    }
}

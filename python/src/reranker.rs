//! `Reranker`, as Python has it.

use std::path::PathBuf;
use std::sync::Arc;

use akidb_embedding::{
    Embedding, RerankOptions, Reranker as Library, Score as LibraryScore, Scoring,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::call::{Answer, Steps, embed, states};
use crate::embedder::provenance_dict;
use crate::failure::{Failure, Stop};
use crate::handle::{Arguments, Handle};
use crate::model::Model;
use crate::options::{builder, rerank_options};
use crate::texts::Texts;

/// A loaded model that scores documents for a query: a reranker, or any embedding model, by cosine.
///
/// `Reranker(model="akidb-mini", *, …)`, with the keywords of `Embedder`. Threads of Python may call it at
/// the same time, and share the model's passes. Raises what `Embedder` does.
#[pyclass(module = "akidb_embedding", frozen, weakref)]
pub(crate) struct Reranker(Handle);

#[pymethods]
impl Reranker {
    #[new]
    #[pyo3(signature = (model = Some("akidb-mini".into()), **arguments))]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        arguments: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let builder = builder(model.clone(), arguments.as_ref())?;
        let loaded = py.detach(|| Model::load_reranker(builder.into()))?;
        Ok(Self(Handle::new(loaded, model, arguments)))
    }

    /// Documents for a query, the best first; of equal ones the earlier is first: a list of `Score`.
    ///
    /// Parameters: `top_n` (only the best), `scoring` ("model" or "cosine"; without it the model where it
    /// is a reranker), `instruction` (the task, for models that take one), `max_tokens` (longest pair, or
    /// with cosine longest text), `max_document_tokens`, `on_long` ("truncate", "truncate-start",
    /// "truncate-end" or "error", for documents: a query is never cut).
    ///
    /// Raises `TypeError` for what isn't a list of texts, `TextError` (with the document's `index`),
    /// `TooLongError` when the query leaves no room for a document, `OptionError` for an option that
    /// doesn't fit the model, `BackendError` when the model fails.
    #[pyo3(signature = (query, documents, **options))]
    fn rerank(
        &self,
        py: Python<'_>,
        query: &Bound<'_, PyAny>,
        documents: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Score>> {
        rerank(py, &*self.0.model()?, query, documents, options)
    }

    /// What scores made with these keywords come from, as `Embedder.provenance`, with `scoring` ("model"
    /// or "cosine").
    ///
    /// Raises `OptionError` for an option that doesn't fit the model.
    #[pyo3(signature = (**options))]
    fn provenance<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let library = Library::from(Arc::clone(&self.0.model()?.embedder));
        let from = library.provenance(&rerank_options(options)?);
        provenance_dict(py, from.map_err(Failure::from)?)
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
        self.0.describe("Reranker")
    }
}

/// How well a document answers a query.
#[pyclass(module = "akidb_embedding", frozen, get_all)]
pub(crate) struct Score {
    /// The document's position in the call, from 0.
    index: usize,
    /// As the model's files say: a probability, or the logit; with cosine, the cosine.
    score: f32,
    /// What the model gave, not bounded; with cosine, the cosine.
    logit: f32,
    /// Tokens of the pair, special tokens included; with cosine, of the document.
    tokens: usize,
    /// Whether the document was longer than the limit, and was cut.
    truncated: bool,
}

#[pymethods]
impl Score {
    fn __repr__(&self) -> String {
        format!("Score(index={}, score={})", self.index, self.score)
    }
}

impl From<LibraryScore> for Score {
    fn from(score: LibraryScore) -> Self {
        Self {
            index: score.index,
            score: score.score,
            logit: score.logit,
            tokens: score.tokens,
            truncated: score.truncated,
        }
    }
}

/// Scores documents with a model.
pub(crate) fn rerank(
    py: Python<'_>,
    model: &Model,
    query: &Bound<'_, PyAny>,
    documents: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<Score>> {
    let query = Texts::one(query)?;
    let documents = Texts::of(documents)?;
    let options = rerank_options(options)?;
    let scores = py.detach(|| -> Result<_, Stop> {
        let library = Library::from(Arc::clone(&model.embedder));
        let mut scores = match library.scoring(&options)? {
            Scoring::Model => by_model(model, &library, &query, &documents, &options)?,
            Scoring::Cosine => by_cosine(model, &library, &query, &documents, &options)?,
        };
        LibraryScore::rank(&mut scores, options.top_n);
        Ok(scores)
    });
    Ok(scores?.into_iter().map(Score::from).collect())
}

fn by_model(
    model: &Model,
    library: &Library,
    query: &Texts,
    documents: &Texts,
    options: &RerankOptions,
) -> Result<Vec<LibraryScore>, Stop> {
    let text = query.iter().next().and_then(Result::ok);
    let query = library.query(text.unwrap_or_default(), options)?;
    let steps = Steps::Pairs(library, &query);
    let mut scores = Vec::new();
    let shared = query.shared_text().to_owned();
    states(model, documents, steps, shared, |index, computed| {
        let computed = computed?;
        let (tokens, truncated) = (computed.tokens, computed.truncated);
        scores.push(library.score(index, &computed.state, tokens, truncated)?);
        Ok(())
    })?;
    Ok(scores)
}

fn by_cosine(
    model: &Model,
    library: &Library,
    query: &Texts,
    documents: &Texts,
    options: &RerankOptions,
) -> Result<Vec<LibraryScore>, Stop> {
    let mut vector = Vec::new();
    embed(model, query, &library.query_options(options), |answer| {
        let answer = answer.map_err(Failure::of_query)?;
        vector = answer.values.as_f32().unwrap_or_default().to_vec();
        Ok(())
    })?;
    let mut found = Vec::new();
    embed(
        model,
        documents,
        &library.document_options(options),
        |answer| {
            let Answer {
                values,
                tokens,
                truncated,
            } = answer?;
            found.push(Embedding {
                values,
                tokens,
                truncated,
            });
            Ok(())
        },
    )?;
    Ok(LibraryScore::cosines(&vector, &found))
}

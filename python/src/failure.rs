//! What went wrong, and the exception that it is in Python.

use akidb_bulk::corpus::CorpusError;
use akidb_embedding::diagnostics::chain;
use akidb_embedding::{EmbedError, Hint};
use akidb_schedule::ScheduleError;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What went wrong, in words: an exception of `akidb_embedding.errors` that isn't made yet.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Name of the exception's class.
    class: &'static str,
    message: String,
    hint: Option<String>,
    /// Position of the text at fault, from 0.
    index: Option<usize>,
}

/// Why a call ended.
#[derive(Debug)]
pub(crate) enum Stop {
    Failure(Failure),
    /// A signal's handler raised an exception.
    Python(PyErr),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Stop> for PyErr {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failure(failure) => failure.into(),
            Stop::Python(error) => error,
        }
    }
}

impl Failure {
    pub(crate) fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
            index: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Of the text at `index`.
    pub(crate) fn of_text(self, index: usize) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }

    /// Of a query, which is no text of the call's list.
    pub(crate) fn of_query(self) -> Self {
        Self {
            message: format!("the query: {}", self.message),
            index: None,
            ..self
        }
    }

    /// An error of the text at `index` of the call, which has another place in what the library was given.
    pub(crate) fn at(error: EmbedError, index: usize) -> Self {
        let own = index_of(&error).unwrap_or(0);
        Self::from(error.counted_from(index.saturating_sub(own)))
    }

    /// An option's value that can't be used.
    pub(crate) fn option(message: impl Into<String>) -> Self {
        Self::new("OptionError", message)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What the scheduler says, in a call whose `index`th text is the one that it names.
    pub(crate) fn scheduled(error: &ScheduleError<EmbedError>, index: usize) -> Self {
        match error {
            ScheduleError::Failed { source, .. } => {
                let failure = Self::from(&**source);
                match failure.index {
                    Some(_) => failure.of_text(index),
                    None => failure,
                }
            }
            ScheduleError::Panicked { message, .. } => {
                let message = format!(
                    "the model failed unexpectedly on the text at index {index}: {message}"
                );
                Self::new("BackendError", message)
            }
            error => Self::new("BackendError", chain(error)),
        }
    }

    pub(crate) fn into_exception<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let classes = py.import(intern!(py, "akidb_embedding.errors"))?;
        let fields = PyDict::new(py);
        fields.set_item(intern!(py, "hint"), self.hint)?;
        if self.index.is_some() {
            fields.set_item(intern!(py, "index"), self.index)?;
        }
        classes
            .getattr(self.class)?
            .call((self.message,), Some(&fields))
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| match failure.into_exception(py) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => PyException::new_err(error.to_string()),
        })
    }
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        Self::from(&error)
    }
}

impl From<EmbedError> for Stop {
    fn from(error: EmbedError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<&EmbedError> for Failure {
    fn from(error: &EmbedError) -> Self {
        Self {
            class: class(error),
            message: chain(error),
            hint: match error {
                EmbedError::NotAnEmbedder { model } => {
                    Some(format!("Reranker({model:?}).rerank(query, documents)"))
                }
                error => error.hint().map(in_python),
            },
            index: index_of(error),
        }
    }
}

impl From<CorpusError> for Failure {
    fn from(error: CorpusError) -> Self {
        let class = match &error {
            CorpusError::Embed(error) => return Self::from(error),
            CorpusError::Input { .. }
            | CorpusError::Settings(_)
            | CorpusError::NoColumn { .. }
            | CorpusError::ColumnType { .. }
            | CorpusError::ColumnTypes { .. }
            | CorpusError::Reserved(_)
            | CorpusError::OtherWork { .. }
            | CorpusError::NotAFolder(_) => "OptionError",
            _ => "CorpusError",
        };
        let hint = match &error {
            CorpusError::NoColumn { .. } => "name the text's column with text=, the id's with id=",
            CorpusError::ColumnTypes { .. } => "make several runs of it, or leave it out of keep=",
            CorpusError::Reserved(_) => "name the columns to keep= without it",
            CorpusError::OtherWork { .. } => {
                "choose another out, or force=True moves what is there aside and starts afresh"
            }
            CorpusError::NotAFolder(_) => "choose a new or empty folder",
            CorpusError::Changed { .. } => {
                "put it back as it was, or start afresh with another out or with force=True"
            }
            CorpusError::Missing { .. } => "start it again: what is there stays",
            CorpusError::TooManyErrors { .. } => {
                "whole units stay; mend the input, or allow more with max_error_rate="
            }
            _ => return Self::new(class, chain(&error)),
        };
        Self::new(class, chain(&error)).hint(hint)
    }
}

impl From<CorpusError> for Stop {
    fn from(error: CorpusError) -> Self {
        Self::Failure(error.into())
    }
}

fn index_of(error: &EmbedError) -> Option<usize> {
    match error {
        EmbedError::TooLong { index, .. }
        | EmbedError::InvalidTokens { index, .. }
        | EmbedError::NotFinite { index, .. } => Some(*index),
        _ => None,
    }
}

/// The exception's class for a kind of error.
fn class(error: &EmbedError) -> &'static str {
    match error {
        EmbedError::ModelNotFound { .. }
        | EmbedError::ModelNotNamed { .. }
        | EmbedError::UnknownVariant { .. } => "ModelNotFoundError",
        EmbedError::Store(_)
        | EmbedError::Read { .. }
        | EmbedError::MissingFile { .. }
        | EmbedError::FileTooLarge { .. }
        | EmbedError::Json { .. }
        | EmbedError::Tokenizer { .. }
        | EmbedError::Contradiction { .. }
        | EmbedError::Model(_)
        | EmbedError::NoWeights { .. } => "ModelFilesError",
        EmbedError::Environment { .. }
        | EmbedError::Dimension { .. }
        | EmbedError::UnknownPrompt { .. }
        | EmbedError::NoInstruction
        | EmbedError::InstructionForDocuments
        | EmbedError::Precision { .. }
        | EmbedError::NotAnEmbedder { .. }
        | EmbedError::NotAReranker { .. }
        | EmbedError::TokenLimit { .. } => "OptionError",
        EmbedError::TooLong { .. } | EmbedError::QueryTooLong { .. } => "TooLongError",
        EmbedError::InvalidTokens { .. } => "TextError",
        EmbedError::NotFinite { .. } => "NotFiniteError",
        _ => "BackendError",
    }
}

/// A hint in Python's words.
fn in_python(hint: Hint) -> String {
    match &hint {
        Hint::Pull { model } => format!("fetch it: akidb-embed models pull {model}"),
        Hint::NameOne => "name one of them: Embedder(\"…\")".to_owned(),
        Hint::NameOutput => "name the one that is the embedding: output=\"…\"".to_owned(),
        Hint::Inspect => "akidb-embed inspect shows what is in the file; fetch it again if it is \
                          damaged"
            .to_owned(),
        Hint::AllowTruncation => format!("{hint} (on_long=\"truncate\")"),
        _ => hint.to_string(),
    }
}

//! How to load a model and how to embed, in Python's keywords.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use akidb_embedding::onnxruntime::{Provider, ProviderChoice};
use akidb_embedding::{EmbedOptions, Embedder, EmbedderBuilder, Prompt, RerankOptions, Role};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;

/// One of the library's choices by its name.
fn choice<T: FromStr<Err: Display>>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    let name: String = value.extract()?;
    let choice = name.parse::<T>();
    Ok(choice.map_err(|error| Failure::option(error.to_string()))?)
}

/// A path or a name as text.
pub(crate) fn text(value: PathBuf) -> Result<String, Failure> {
    let text = value.into_os_string().into_string();
    text.map_err(|path| Failure::option(format!("{} is not Unicode", path.display())))
}

/// Goes through the keywords that are not None; `set` says whether there is such a one.
pub(crate) fn each(
    keywords: Option<&Bound<'_, PyDict>>,
    mut set: impl FnMut(&str, &Bound<'_, PyAny>) -> PyResult<bool>,
) -> PyResult<()> {
    for (keyword, value) in keywords.into_iter().flatten() {
        let keyword: String = keyword.extract()?;
        if value.is_none() {
            continue;
        }
        let known =
            set(&keyword, &value).map_err(|error| in_keyword(value.py(), &keyword, error))?;
        if !known {
            let message = format!("there is no keyword {keyword:?} here");
            return Err(PyTypeError::new_err(message));
        }
    }
    Ok(())
}

/// Says which keyword has the wrong type, is out of range, or is not Unicode.
fn in_keyword(py: Python<'_>, keyword: &str, error: PyErr) -> PyErr {
    let message = format!("{keyword}: {}", error.value(py));
    if error.is_instance_of::<PyTypeError>(py) {
        return PyTypeError::new_err(message);
    }
    let is_value = error.is_instance_of::<PyOverflowError>(py)
        || error.is_instance_of::<PyUnicodeEncodeError>(py);
    match is_value {
        true => Failure::option(message).into(),
        false => error,
    }
}

/// A builder of `Embedder(model, **keywords)`.
pub(crate) fn builder(
    model: Option<PathBuf>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<EmbedderBuilder> {
    let mut builder = Embedder::builder();
    if let Some(model) = model {
        builder = builder.model(text(model)?);
    }
    each(keywords, |keyword, value| {
        let with = builder.clone();
        builder = match keyword {
            "variant" => with.variant(value.extract::<String>()?),
            "precision" => with.precision(choice(value)?),
            "backend" => with.backend(choice(value)?),
            "threads" => with.threads(value.extract()?),
            "pooling" => with.pooling(choice(value)?),
            "output" => with.output(value.extract::<String>()?),
            "onnxruntime_library" => with.onnxruntime_library(value.extract::<PathBuf>()?),
            "provider" => {
                let no_options: [(String, String); 0] = [];
                let provider = Provider::new(&value.extract::<String>()?, no_options);
                let provider = provider.map_err(|error| Failure::option(error.to_string()))?;
                with.provider(ProviderChoice::Named(provider))
            }
            _ => return Ok(false),
        };
        Ok(true)
    })?;
    Ok(builder)
}

/// The options of `embed(texts, **keywords)`; without a role, texts are for `role`.
pub(crate) fn options(
    keywords: Option<&Bound<'_, PyDict>>,
    role: Option<Role>,
) -> PyResult<EmbedOptions> {
    let mut options = EmbedOptions::default();
    let (mut said, mut instruction) = (None, None);
    let (mut literal, mut named) = (None, None);
    each(keywords, |keyword, value| {
        match keyword {
            "role" => said = Some(choice::<Role>(value)?),
            "instruction" => instruction = Some(value.extract::<String>()?),
            "prompt" => literal = Some(value.extract::<String>()?),
            "prompt_name" => named = Some(value.extract::<String>()?),
            "dim" => options.dimension = Some(value.extract()?),
            "normalize" => options.normalize = value.extract()?,
            "encoding" => options.encoding = choice(value)?,
            "max_tokens" => options.max_tokens = Some(value.extract()?),
            "on_long" => options.on_long = choice(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    options.prompt = match (said.is_some() || instruction.is_some(), literal, named) {
        (false, Some(text), None) => Prompt::Literal(text),
        (false, None, Some(name)) => Prompt::Named(name),
        (_, None, None) => Prompt::of(said.or(role), instruction).map_err(Failure::from)?,
        _ => {
            let message = "only one of role (with instruction), prompt and prompt_name says what \
                           is put before a text";
            return Err(Failure::option(message).into());
        }
    };
    Ok(options)
}

/// The options of `rerank(query, documents, **keywords)`.
pub(crate) fn rerank_options(keywords: Option<&Bound<'_, PyDict>>) -> PyResult<RerankOptions> {
    let mut options = RerankOptions::default();
    each(keywords, |keyword, value| {
        match keyword {
            "top_n" => options.top_n = Some(value.extract()?),
            "scoring" => options.scoring = Some(choice(value)?),
            "instruction" => options.instruction = Some(value.extract()?),
            "max_tokens" => options.max_tokens = Some(value.extract()?),
            "max_document_tokens" => options.max_document_tokens = Some(value.extract()?),
            "on_long" => options.on_long = choice(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(options)
}

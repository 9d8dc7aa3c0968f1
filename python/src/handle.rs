//! A model that a Python object holds.

use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;
use crate::model::Model;

/// What pickle makes an object of again: the model's name, and keywords.
pub(crate) type Arguments<'py> = ((Option<PathBuf>,), Bound<'py, PyDict>);

/// A model, until it is closed, and what it was made with.
pub(crate) struct Handle {
    model: RwLock<Option<Arc<Model>>>,
    name: Option<PathBuf>,
    keywords: Option<Py<PyDict>>,
}

impl Handle {
    pub(crate) fn new(
        model: Model,
        name: Option<PathBuf>,
        keywords: Option<Bound<'_, PyDict>>,
    ) -> Self {
        Self {
            model: RwLock::new(Some(Arc::new(model))),
            name,
            keywords: keywords.map(Bound::unbind),
        }
    }

    pub(crate) fn model(&self) -> Result<Arc<Model>, Failure> {
        let model = self.model.read().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = model.as_ref() else {
            let failure = Failure::new("ClosedError", "the model is closed");
            return Err(failure.hint("load it again"));
        };
        model.check_process()?;
        Ok(Arc::clone(model))
    }

    /// Gives the model's memory back, once the calls that run are done.
    pub(crate) fn close(&self) {
        let mut model = self.model.write().unwrap_or_else(PoisonError::into_inner);
        forget_if_forked(&mut model);
        drop(model.take());
    }

    pub(crate) fn arguments<'py>(&self, py: Python<'py>) -> Arguments<'py> {
        let keywords = self.keywords.as_ref();
        let keywords = keywords.map(|keywords| keywords.bind(py).clone());
        (
            (self.name.clone(),),
            keywords.unwrap_or_else(|| PyDict::new(py)),
        )
    }

    /// `Embedder("akidb-mini", dimension 256)`, for a class of that name.
    pub(crate) fn describe(&self, class: &str) -> String {
        match self.model() {
            Ok(model) => format!(
                "{class}({:?}, dimension {})",
                model.embedder.model(),
                model.embedder.dimension()
            ),
            Err(failure) => format!("{class}({})", failure.message()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let model = self.model.get_mut().unwrap_or_else(PoisonError::into_inner);
        forget_if_forked(model);
    }
}

/// In a forked process, the model's memory stays as it is: a lock that another thread held when the
/// process was forked stays locked.
fn forget_if_forked(model: &mut Option<Arc<Model>>) {
    if model.as_ref().is_some_and(|model| model.is_forked()) {
        mem::forget(model.take());
    }
}

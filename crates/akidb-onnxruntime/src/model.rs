//! The backend: a graph in ONNX Runtime.

use std::path::Path;

use akidb_backend::{Backend, BackendError, BackendInfo, TokenBatch};
use akidb_graph::{Engine, GraphFacts, GraphModel, GraphSource, catch_panic};

use crate::error::OnnxRuntimeError;
use crate::external::check_external;
use crate::library::Library;
use crate::options::OnnxRuntimeOptions;
use crate::provider::Provider;
use crate::runner::{Interface, OnnxRuntimeRunner};
use crate::session;

pub(crate) const NAME: &str = "ONNX Runtime";

/// An ONNX embedding model that ONNX Runtime runs.
///
/// ```no_run
/// use akidb_backend::{Backend, Pooling, TokenBatch};
/// use akidb_onnxruntime::{Library, LibrarySearch, OnnxRuntimeModel, OnnxRuntimeOptions};
///
/// let library = Library::find(&LibrarySearch::default())?;
/// let options = OnnxRuntimeOptions::new(Pooling::Mean);
/// let model = OnnxRuntimeModel::load(library, "model/onnx/model.onnx".as_ref(), &options)?;
/// let batch: TokenBatch = [[101, 7592, 102]].into_iter().collect();
/// let mut row = vec![0.0; model.info().hidden_size];
/// model.forward(&batch, &mut row)?;
/// # Ok::<(), akidb_onnxruntime::OnnxRuntimeError>(())
/// ```
#[derive(Debug)]
pub struct OnnxRuntimeModel {
    model: GraphModel<OnnxRuntimeRunner>,
    fallback: Option<String>,
}

impl OnnxRuntimeModel {
    /// Loads the `.onnx` file at `path` and the external data beside it, and runs it on a few
    /// tokens to learn its width and whether it takes batches.
    ///
    /// # Errors
    /// When the provider that was named isn't in the library or can't be started, and
    /// [`OnnxRuntimeError::Model`] of kind `InvalidModel` when a file is broken, `UnsupportedModel`
    /// when ONNX Runtime can't load the graph or it isn't that of an embedding model.
    pub fn load(
        library: &'static Library,
        path: &Path,
        options: &OnnxRuntimeOptions,
    ) -> Result<Self, OnnxRuntimeError> {
        Self::from_source(library, &GraphSource::open(path)?, options)
    }

    /// Loads a model without external data that is built into the program.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_static(
        library: &'static Library,
        bytes: &'static [u8],
        options: &OnnxRuntimeOptions,
    ) -> Result<Self, OnnxRuntimeError> {
        Self::from_source(library, &GraphSource::from_static(bytes)?, options)
    }

    /// Why another provider than the preferred one runs the model, where that is so.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    fn from_source(
        library: &'static Library,
        source: &GraphSource,
        options: &OnnxRuntimeOptions,
    ) -> Result<Self, OnnxRuntimeError> {
        check_external(&source.onnx)?;
        let interface = Interface::of(&source.onnx, &options.graph)?;
        let (model, fallback) = options.provider.first(library, |provider| {
            run_by(library, source, options, provider, interface.clone())
        })?;
        Ok(Self { model, fallback })
    }
}

fn run_by(
    library: &'static Library,
    source: &GraphSource,
    options: &OnnxRuntimeOptions,
    provider: &Provider,
    interface: Interface,
) -> Result<GraphModel<OnnxRuntimeRunner>, OnnxRuntimeError> {
    let facts = GraphFacts::of(&source.onnx);
    let float = if facts.half_precision() { "f16" } else { "f32" };
    let engine = Engine {
        name: NAME,
        backend: "onnxruntime",
        precision: facts.quantized().unwrap_or(float),
        device: provider.device(),
        tolerance: tolerance(&facts, provider),
    };
    let loaded = catch_panic(NAME, "loading the model", || {
        Ok(session::load(library, source, options, provider))
    });
    let runner = OnnxRuntimeRunner::new(loaded??, interface, options.graph.pooling);
    let model = catch_panic(NAME, "running the model", || {
        GraphModel::new(runner, &facts, &options.graph, engine)
    })?;
    Ok(model)
}

/// How far rounding alone may move a text's row beside another: f16 graphs round after every
/// operator, and accelerators multiply in 10 or 11 bits of mantissa.
fn tolerance(facts: &GraphFacts, provider: &Provider) -> f32 {
    if facts.half_precision() || *provider != Provider::Cpu {
        2e-2
    } else {
        1e-4
    }
}

impl Backend for OnnxRuntimeModel {
    fn info(&self) -> &BackendInfo {
        self.model.info()
    }

    /// As [`GraphModel::forward`]; one call at a time.
    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        self.model.forward(batch, out)
    }
}

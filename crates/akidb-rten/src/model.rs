//! The backend: a graph in RTen.

use std::path::Path;

use akidb_backend::{Backend, BackendError, BackendInfo, TokenBatch};
use akidb_graph::{Admission, Engine, GraphFacts, GraphModel, GraphSource, Inputs, Output};

use crate::bounds;
use crate::guard::on_deep_stack;
use crate::load::load;
use crate::options::RtenOptions;
use crate::runner::RtenRunner;

/// RTen computes in f32.
const TOLERANCE: f32 = 1e-4;

/// An ONNX embedding model that RTen runs on the CPU.
///
/// ```no_run
/// use akidb_backend::{Backend, Pooling, TokenBatch};
/// use akidb_rten::{RtenModel, RtenOptions};
///
/// let options = RtenOptions::new(Pooling::Mean);
/// let model = RtenModel::load("model/onnx/model.onnx".as_ref(), options)?;
/// let batch: TokenBatch = [[101, 7592, 102]].into_iter().collect();
/// let mut row = vec![0.0; model.info().hidden_size];
/// model.forward(&batch, &mut row)?;
/// # Ok::<(), akidb_backend::BackendError>(())
/// ```
#[derive(Debug)]
pub struct RtenModel {
    model: GraphModel<RtenRunner>,
}

impl RtenModel {
    /// Loads the `.onnx` file at `path` and the external data beside it, and runs it on a few
    /// tokens to learn its width and whether it takes batches.
    ///
    /// Weights in the file itself are read into memory once. External data stays in its file,
    /// mapped (f16 weights are widened into memory): RTen borrows it for the life of the
    /// process, so the mapping outlives the model. What stays behind when a model is dropped is
    /// address space, and file pages that the system takes back when it needs them.
    ///
    /// # Errors
    /// `InvalidModel` when a file is broken, `UnsupportedModel` when RTen lacks an operator (the
    /// error names it) or the graph's inputs or outputs are not those of an embedding model,
    /// `Failed` when RTen panics.
    pub fn load(path: &Path, options: RtenOptions) -> Result<Self, BackendError> {
        Self::from_source(&GraphSource::open(path)?, &options)
    }

    /// Loads a model without external data that is built into the program.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_static(bytes: &'static [u8], options: RtenOptions) -> Result<Self, BackendError> {
        Self::from_source(&GraphSource::from_static(bytes)?, &options)
    }

    fn from_source(source: &GraphSource, options: &RtenOptions) -> Result<Self, BackendError> {
        let onnx = &source.onnx;
        bounds::check(onnx)?;
        let facts = GraphFacts::of(onnx);
        let engine = Engine {
            name: "RTen",
            backend: "rten",
            // The arithmetic of f16 graphs too.
            precision: facts.quantized().unwrap_or("f32"),
            device: "cpu".to_owned(),
            tolerance: TOLERANCE,
        };
        let graph = &options.graph;
        let inputs = Inputs::of(onnx, graph.head_dim)?;
        let output = Output::of(onnx, &graph.output)?;
        let admission = Admission::of_output(onnx, &inputs, &output.name);
        // Loading computes what depends on no input.
        admission.check(1, 1)?;
        on_deep_stack("loading the model", || {
            let model = load(source, options.prepack_weights)?;
            let runner = RtenRunner::new(model, inputs, output, admission, options)?;
            let model = GraphModel::new(runner, &facts, graph, engine)?;
            Ok(Self { model })
        })
    }
}

impl Backend for RtenModel {
    fn info(&self) -> &BackendInfo {
        self.model.info()
    }

    /// As [`GraphModel::forward`].
    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        self.model.forward(batch, out)
    }
}

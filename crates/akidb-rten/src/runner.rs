//! One run of the graph: token ids in, pooled rows out.

use std::sync::Arc;

use akidb_backend::{BackendError, BackendErrorKind, Pooling};
use akidb_graph::{Admission, Inputs, Output, Rows, Runner, TextLayout, Texts};
use rten::{Model, NodeId, RunError, RunErrorKind, RunOptions, ThreadPool, Value};
use rten_tensor::prelude::*;

use crate::inputs::InputNodes;
use crate::options::RtenOptions;

/// A graph in RTen.
#[derive(Debug)]
pub(crate) struct RtenRunner {
    model: Model,
    inputs: InputNodes,
    node: NodeId,
    output: Output,
    pooling: Pooling,
    run_options: RunOptions,
    admission: Admission,
}

impl RtenRunner {
    pub(crate) fn new(
        model: Model,
        inputs: Inputs,
        output: Output,
        admission: Admission,
        options: &RtenOptions,
    ) -> Result<Self, BackendError> {
        let pool = |n: std::num::NonZeroUsize| Arc::new(ThreadPool::with_num_threads(n.get()));
        Ok(Self {
            inputs: InputNodes::of(&model, inputs),
            node: model.find_node(&output.name).ok_or_else(|| {
                BackendError::new(
                    BackendErrorKind::UnsupportedModel,
                    format!(
                        "output {:?} is not in the graph that RTen has loaded",
                        output.name
                    ),
                )
            })?,
            output,
            model,
            pooling: options.graph.pooling,
            admission,
            run_options: RunOptions::default().with_thread_pool(options.threads.map(pool)),
        })
    }

    fn unsupported(&self, what: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("output {:?} {what}", self.output.name),
        )
    }

    fn run_error(&self, error: &RunError) -> BackendError {
        let unknown = self.inputs.unknown();
        match error.kind() {
            RunErrorKind::PlanningError if !unknown.is_empty() => self.unsupported(&format!(
                "can't be computed ({error}): the meaning of these inputs is unknown: {}",
                unknown.join(", ")
            )),
            RunErrorKind::PlanningError | RunErrorKind::InvalidInput => {
                self.unsupported(&format!("can't be computed: {error}"))
            }
            _ => BackendError::new(BackendErrorKind::Failed, format!("RTen: {error}")),
        }
    }
}

impl Runner for RtenRunner {
    fn layout(&self) -> TextLayout {
        self.inputs.layout()
    }

    fn run(&self, texts: &Texts<'_>) -> Result<Rows, BackendError> {
        self.admission.check(texts.ids.len(), texts.longest())?;
        let inputs = self.inputs.values(texts)?;
        let outputs = self
            .model
            .run(inputs, &[self.node], Some(self.run_options.clone()))
            .map_err(|e| self.run_error(&e))?;
        let output = outputs.into_iter().next();
        let output = output.ok_or_else(|| self.unsupported("is not given"))?;
        let shape = output.shape().to_vec();
        let width = shape.last().copied().unwrap_or(0);
        let data = match output {
            Value::FloatTensor(tensor) => tensor.into_data(),
            Value::UInt8Tensor(tensor) => self.output.numbers(&tensor.into_data(), width)?,
            Value::Int8Tensor(tensor) => self.output.numbers(&tensor.into_data(), width)?,
            _ => return Err(self.unsupported("is a tensor neither of f32 nor of 8-bit integers")),
        };
        Rows::of_output(
            &self.output.name,
            &shape,
            &data,
            texts.ids,
            self.layout(),
            self.pooling,
        )
    }
}

//! One run of the graph: token ids in, pooled rows out.

use std::sync::Arc;

use akidb_backend::{BackendError, BackendErrorKind, Pooling};
use akidb_graph::{Admission, Inputs, Padding, Rows, Runner};
use rten::{Model, NodeId, RunError, RunErrorKind, RunOptions, ThreadPool};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::inputs::InputNodes;
use crate::options::RtenOptions;

/// A graph in RTen.
#[derive(Debug)]
pub(crate) struct RtenRunner {
    model: Model,
    inputs: InputNodes,
    output: NodeId,
    output_name: String,
    pooling: Pooling,
    run_options: RunOptions,
    admission: Admission,
}

impl RtenRunner {
    pub(crate) fn new(
        model: Model,
        inputs: Inputs,
        output_name: String,
        admission: Admission,
        options: &RtenOptions,
    ) -> Result<Self, BackendError> {
        let pool = |n: std::num::NonZeroUsize| Arc::new(ThreadPool::with_num_threads(n.get()));
        Ok(Self {
            inputs: InputNodes::of(&model, inputs),
            output: model.find_node(&output_name).ok_or_else(|| {
                BackendError::new(
                    BackendErrorKind::UnsupportedModel,
                    format!("output {output_name:?} is not in the graph that RTen has loaded"),
                )
            })?,
            output_name,
            model,
            pooling: options.pooling,
            admission,
            run_options: RunOptions::default().with_thread_pool(options.threads.map(pool)),
        })
    }

    fn unsupported(&self, what: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("output {:?} {what}", self.output_name),
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
    fn run(&self, texts: &[&[u32]], padding: Padding) -> Result<Rows, BackendError> {
        let longest = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        self.admission.check(texts.len(), longest)?;
        let inputs = self.inputs.values(texts, padding)?;
        let outputs = self
            .model
            .run(inputs, &[self.output], Some(self.run_options.clone()))
            .map_err(|e| self.run_error(&e))?;
        let hidden: Tensor<f32> = outputs
            .into_iter()
            .next()
            .and_then(|output| output.into_tensor())
            .ok_or_else(|| self.unsupported("is not an f32 tensor"))?;
        let shape = hidden.shape().to_vec();
        let data = hidden.to_contiguous();
        Rows::of_output(&self.output_name, &shape, data.data(), texts, self.pooling)
    }
}

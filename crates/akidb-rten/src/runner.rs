//! One run of the graph: token ids in, pooled rows out.

use std::sync::Arc;

use akidb_backend::{BackendError, BackendErrorKind, Pooling};
use akidb_onnx::model::OnnxModel;
use rten::{Model, RunError, RunErrorKind, RunOptions, ThreadPool};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::graph::GraphFacts;
use crate::inputs::{Inputs, Padding};
use crate::options::RtenOptions;
use crate::output::Output;

/// A loaded graph that knows its inputs and its output.
#[derive(Debug)]
pub(crate) struct Runner {
    model: Model,
    inputs: Inputs,
    output: Output,
    pooling: Pooling,
    pad_token_id: u32,
    run_options: RunOptions,
}

/// Pooled rows, row-major `[texts, width]`.
pub(crate) struct Rows {
    pub(crate) data: Vec<f32>,
    pub(crate) width: usize,
}

impl Rows {
    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }
}

impl Runner {
    pub(crate) fn new(
        model: Model,
        onnx: &OnnxModel,
        facts: &GraphFacts,
        options: &RtenOptions,
    ) -> Result<Self, BackendError> {
        let pool = |n: std::num::NonZeroUsize| Arc::new(ThreadPool::with_num_threads(n.get()));
        Ok(Self {
            inputs: Inputs::of(&model, onnx, facts)?,
            output: Output::choose(&model, options.output.as_deref())?,
            model,
            pooling: options.pooling,
            pad_token_id: options.pad_token_id,
            run_options: RunOptions::default().with_thread_pool(options.threads.map(pool)),
        })
    }

    /// Runs `texts`, none of them empty, in one batch; `mask` is the padding's attention mask.
    pub(crate) fn run(&self, texts: &[&[u32]], mask: u32) -> Result<Rows, BackendError> {
        let padding = Padding {
            id: self.pad_token_id,
            mask,
        };
        let inputs = self.inputs.values(texts, padding)?;
        let outputs = self
            .model
            .run(inputs, &[self.output.id], Some(self.run_options.clone()))
            .map_err(|e| self.run_error(&e))?;
        let hidden: Tensor<f32> = outputs
            .into_iter()
            .next()
            .and_then(|output| output.into_tensor())
            .ok_or_else(|| self.unsupported("is not an f32 tensor"))?;
        self.pool(&hidden, texts)
    }

    fn pool(&self, hidden: &Tensor<f32>, texts: &[&[u32]]) -> Result<Rows, BackendError> {
        let length = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let data = hidden.to_contiguous();
        match *hidden.shape() {
            [batch, width] if batch == texts.len() && width > 0 => Ok(Rows {
                data: data.data().to_vec(),
                width,
            }),
            [batch, tokens, width] if batch == texts.len() && tokens == length && width > 0 => {
                let mut rows = vec![0.0; batch * width];
                let states = data.data().chunks_exact(tokens * width);
                for ((row, states), ids) in rows.chunks_exact_mut(width).zip(states).zip(texts) {
                    crate::pooling::pool(&states[..ids.len() * width], self.pooling, row);
                }
                Ok(Rows { data: rows, width })
            }
            ref shape => Err(self.unsupported(&format!(
                "has shape {shape:?} for {} texts of at most {length} tokens; expected \
                 [texts, hidden_size] or [texts, tokens, hidden_size]",
                texts.len()
            ))),
        }
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
            RunErrorKind::PlanningError if !unknown.is_empty() => BackendError::new(
                BackendErrorKind::UnsupportedModel,
                format!(
                    "output {:?} can't be computed ({error}): the meaning of these inputs is \
                     unknown: {}",
                    self.output.name,
                    unknown.join(", ")
                ),
            ),
            RunErrorKind::PlanningError | RunErrorKind::InvalidInput => {
                self.unsupported(&format!("can't be computed: {error}"))
            }
            _ => BackendError::new(BackendErrorKind::Failed, format!("RTen: {error}")),
        }
    }
}

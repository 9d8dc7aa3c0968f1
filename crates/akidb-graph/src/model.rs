//! The backend: a runner, and how texts are brought to it.

use akidb_backend::{
    Backend, BackendError, BackendErrorKind, BackendInfo, GraphInterface, TokenBatch,
};

use crate::call::{MAX_VOCAB_SIZE, check_call};
use crate::facts::GraphFacts;
use crate::groups;
use crate::guard::catch_panic;
use crate::inputs::{Padding, Texts};
use crate::layout::TextLayout;
use crate::options::GraphOptions;
use crate::probe::{Batching, probe};
use crate::runner::{Engine, Runner};

/// An ONNX embedding model that an engine runs.
#[derive(Debug)]
pub struct GraphModel<R> {
    runner: R,
    engine: Engine,
    pad_token_id: u32,
    batching: Batching,
    info: BackendInfo,
}

impl<R: Runner> GraphModel<R> {
    /// Runs a few tokens to learn the graph's width and whether it takes batches.
    ///
    /// # Errors
    /// When the trial fails, hidden states have another width than stated, or the padding's id is
    /// outside the vocabulary.
    pub fn new(
        runner: R,
        facts: &GraphFacts,
        options: &GraphOptions,
        engine: Engine,
    ) -> Result<Self, BackendError> {
        let vocab_size = facts.vocab_size().unwrap_or(MAX_VOCAB_SIZE);
        if options.pad_token_id as usize >= vocab_size {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "pad_token_id is {}, the vocabulary ends at {vocab_size}",
                    options.pad_token_id
                ),
            ));
        }
        let probed = probe(&runner, facts, &engine, options.pad_token_id)?;
        // What a graph has pooled may have gone through further layers.
        if let Some(stated) = options.hidden_size
            && !probed.pooled_by_graph
            && stated != probed.width
        {
            return Err(BackendError::new(
                BackendErrorKind::InvalidModel,
                format!(
                    "hidden_size is stated to be {stated}, the graph's output is {} wide",
                    probed.width
                ),
            ));
        }
        let layout = runner.layout();
        Ok(Self {
            info: BackendInfo {
                backend: engine.backend,
                precision: engine.precision,
                device: probed.batching.describe(&engine.device),
                hidden_size: probed.width,
                vocab_size: facts.vocab_size(),
                max_tokens: [options.max_tokens, layout.most_tokens()]
                    .into_iter()
                    .flatten()
                    .min(),
                pooling: options.pooling,
                graph: GraphInterface {
                    pools: probed.pooled_by_graph,
                    takes_task: facts.takes_task(),
                    is_bag: layout == TextLayout::EndToEnd,
                },
            },
            runner,
            engine,
            pad_token_id: options.pad_token_id,
            batching: probed.batching,
        })
    }
}

impl<R: Runner> Backend for GraphModel<R> {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Texts of similar length run together, padded, at most 4096 tokens at a time and fewer if
    /// the texts are long; a longer text runs alone. A text's row may differ in the last bits
    /// with the texts beside it.
    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        check_call(&self.info, batch, out.len())?;
        let width = self.info.hidden_size;
        let (groups, mask) = match self.batching {
            Batching::Padded { mask } => {
                let lengths: Vec<usize> = batch.iter().map(<[u32]>::len).collect();
                let most_texts = self.runner.layout().most_texts();
                (groups::groups(&lengths, most_texts), mask)
            }
            Batching::Pinned | Batching::Coupled => {
                ((0..batch.len()).map(|i| vec![i]).collect(), 0)
            }
        };
        let padding = Padding {
            id: self.pad_token_id,
            mask,
        };
        for group in groups {
            let texts: Vec<&[u32]> = group.iter().map(|&i| batch.text(i)).collect();
            let second_segments: Vec<usize> =
                group.iter().map(|&i| batch.second_segments()[i]).collect();
            let texts = Texts {
                ids: &texts,
                second_segments: &second_segments,
                padding,
                task: batch.task(),
            };
            let run = || self.runner.run(&texts);
            let rows = catch_panic(self.engine.name, "running the model", run)?;
            if rows.width() != width {
                return Err(BackendError::new(
                    BackendErrorKind::Failed,
                    format!(
                        "the graph's output is {} wide, it was {width}",
                        rows.width()
                    ),
                ));
            }
            for (row, &i) in group.iter().enumerate() {
                out[i * width..][..width].copy_from_slice(rows.row(row));
            }
        }
        Ok(())
    }
}

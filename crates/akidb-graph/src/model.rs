//! The backend: a runner, and how texts are brought to it.

use akidb_backend::{Backend, BackendError, BackendErrorKind, BackendInfo, TokenBatch};

use crate::call::{MAX_VOCAB_SIZE, check_call};
use crate::facts::GraphFacts;
use crate::groups;
use crate::guard::catch_panic;
use crate::inputs::Padding;
use crate::options::GraphOptions;
use crate::probe::{Batching, probe};
use crate::rows::Rows;

/// A loaded graph that knows its inputs and its output.
pub trait Runner: Send + Sync {
    /// Runs `texts`, none of them empty, in one batch, padded on the right to the longest.
    ///
    /// # Errors
    /// When the graph can't be run on them.
    fn run(&self, texts: &[&[u32]], padding: Padding) -> Result<Rows, BackendError>;
}

/// What runs the graph, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// Its name in error messages.
    pub name: &'static str,
    /// For [`BackendInfo::backend`].
    pub backend: &'static str,
    /// For [`BackendInfo::precision`].
    pub precision: &'static str,
    /// For [`BackendInfo::device`].
    pub device: String,
    /// Largest distance, relative to the row's length, between a text's row alone and beside
    /// another that rounding alone explains. f32 makes about 1e-6, f16 up to 1e-2.
    pub tolerance: f32,
}

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
    /// When the trial fails, the width is another than stated, or the padding's id is outside the
    /// vocabulary.
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
        if let Some(stated) = options.hidden_size
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
        Ok(Self {
            info: BackendInfo {
                backend: engine.backend,
                precision: engine.precision,
                device: probed.batching.describe(&engine.device),
                hidden_size: probed.width,
                vocab_size: facts.vocab_size(),
                max_tokens: options.max_tokens,
                pooling: options.pooling,
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
                (groups::groups(&lengths), mask)
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
            let run = || self.runner.run(&texts, padding);
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

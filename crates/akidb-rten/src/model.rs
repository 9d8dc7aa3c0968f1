//! The backend: a runner, and how texts are brought to it.

use std::path::Path;

use akidb_backend::{Backend, BackendError, BackendErrorKind, BackendInfo, TokenBatch};

use crate::graph::GraphFacts;
use crate::guard;
use crate::options::RtenOptions;
use crate::plan;
use crate::probe::{Batching, probe};
use crate::runner::Runner;
use crate::source::Source;

/// RTen holds ids as i32.
const MAX_VOCAB_SIZE: usize = i32::MAX as usize;

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
    runner: Runner,
    batching: Batching,
    info: BackendInfo,
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
        Self::from_source(&Source::open(path)?, &options)
    }

    /// Loads a model without external data that is built into the program.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_static(bytes: &'static [u8], options: RtenOptions) -> Result<Self, BackendError> {
        Self::from_source(&Source::from_static(bytes)?, &options)
    }

    fn from_source(source: &Source, options: &RtenOptions) -> Result<Self, BackendError> {
        let facts = GraphFacts::of(source.onnx())?;
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
        guard::catch_on_deep_stack("loading the model", || {
            let model = source.load(options.prepack_weights)?;
            let runner = Runner::new(model, source.onnx(), &facts, options)?;
            let probed = probe(&runner, &facts)?;
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
                    backend: "rten",
                    precision: facts.precision(),
                    device: probed.batching.device().to_owned(),
                    hidden_size: probed.width,
                    vocab_size: facts.vocab_size(),
                    max_tokens: options.max_tokens,
                    pooling: options.pooling,
                },
                runner,
                batching: probed.batching,
            })
        })
    }

    fn check(&self, batch: &TokenBatch, out_len: usize) -> Result<(), BackendError> {
        let invalid = |what| Err(BackendError::new(BackendErrorKind::InvalidInput, what));
        let hidden_size = self.info.hidden_size;
        if batch.len().checked_mul(hidden_size) != Some(out_len) {
            return invalid(format!(
                "out holds {out_len} values, {} texts of hidden_size {hidden_size} need {}",
                batch.len(),
                batch.len().saturating_mul(hidden_size)
            ));
        }
        let vocab_size = self.info.vocab_size.unwrap_or(MAX_VOCAB_SIZE);
        let max_tokens = self.info.max_tokens.unwrap_or(usize::MAX);
        for (i, ids) in batch.iter().enumerate() {
            if ids.is_empty() {
                return invalid(format!("text {i} has no tokens"));
            }
            if ids.len() > max_tokens {
                return invalid(format!(
                    "text {i} has {} tokens, the model takes {max_tokens}",
                    ids.len()
                ));
            }
            if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
                return invalid(format!(
                    "text {i} has token id {id}, the vocabulary ends at {vocab_size}"
                ));
            }
        }
        Ok(())
    }
}

impl Backend for RtenModel {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Texts of similar length run together, padded, at most 4096 tokens at a time and fewer if
    /// the texts are long; a longer text runs alone. A text's row may differ in the last bits
    /// with the texts beside it.
    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        self.check(batch, out.len())?;
        let width = self.info.hidden_size;
        let (groups, mask) = match self.batching {
            Batching::Padded { mask } => {
                let lengths: Vec<usize> = batch.iter().map(<[u32]>::len).collect();
                (plan::groups(&lengths), mask)
            }
            Batching::Pinned | Batching::Coupled => {
                ((0..batch.len()).map(|i| vec![i]).collect(), 0)
            }
        };
        for group in groups {
            let texts: Vec<&[u32]> = group.iter().map(|&i| batch.text(i)).collect();
            let rows = guard::catch("running the model", || self.runner.run(&texts, mask))?;
            if rows.width != width {
                return Err(BackendError::new(
                    BackendErrorKind::Failed,
                    format!("the graph's output is {} wide, it was {width}", rows.width),
                ));
            }
            for (row, &i) in group.iter().enumerate() {
                out[i * width..][..width].copy_from_slice(rows.row(row));
            }
        }
        Ok(())
    }
}

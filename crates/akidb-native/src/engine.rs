//! The engine as a backend.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use akidb_backend::{Backend, BackendError, BackendInfo, Pooling, TokenBatch};
use akidb_kernels::Isa;
use akidb_onnx::decoder::Decoder;

use crate::dims::Dims;
use crate::error::EngineError;
use crate::forward::{Model, key_room};
use crate::pool::Pool;
use crate::rotary::RotaryTable;
use crate::weights::Weights;
use crate::workspace::Workspace;

/// Tokens of a forward pass, unless one text has more.
const MAX_BATCH_TOKENS: usize = 4096;

/// Tokens that keys and values may take room for, where every text is rounded up to a tile.
const MAX_BATCH_KEYS: usize = 4 * MAX_BATCH_TOKENS;

/// Workspaces kept for the next calls; more calls at a time make their own.
const IDLE_WORKSPACES: usize = 2;

/// Arithmetic of the linear layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// What the file holds: int8 where all weights of a product are 8-bit codes, else f32.
    #[default]
    Auto,
    /// f32, whatever the file holds.
    F32,
}

/// How an engine runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Number of threads; by default one for each core available.
    pub threads: Option<NonZeroUsize>,
    /// Instructions to use; by default the fastest this CPU has.
    pub isa: Option<Isa>,
    /// Arithmetic of the linear layers.
    pub precision: Precision,
}

/// A decoder in memory, ready to run.
///
/// The linear weights are held in f32 and known to be finite, or as 8-bit codes; the embedding
/// table stays in its file, and is not checked. A call works in passes of at most 4096 tokens, or
/// one longer text. A pass needs, in f32: the hidden states of its tokens, the keys and values of
/// one layer, and the activations of 128 rows a thread. For Qwen3-Embedding-0.6B and two threads
/// that is below 200 MB up to 4096 tokens, and about 450 MB for one text of 32 768. The memory of
/// two passes is kept between calls, but not that of a longer text.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    info: BackendInfo,
    idle: Mutex<Vec<Workspace>>,
}

impl Engine {
    /// Packs the weights of `decoder`.
    ///
    /// # Errors
    /// `InvalidModel` when the configuration has unusable sizes, tensors contradict it, can't be
    /// read or hold NaN or infinity; `UnsupportedModel` when a weight is stored in an unknown
    /// way; `Failed` when threads can't be started or memory runs out.
    pub fn new(decoder: &Decoder, options: EngineOptions) -> Result<Self, BackendError> {
        Ok(Self::pack(decoder, options)?)
    }

    fn pack(decoder: &Decoder, options: EngineOptions) -> Result<Self, EngineError> {
        let threads = options
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let isa = options.isa.unwrap_or_else(Isa::detect);
        let dims = Dims::new(&decoder.config)?;
        let pool = Pool::new(threads)?;
        let max_tokens = dims.max_position_embeddings;
        let weights = Weights::pack(decoder, &dims, options.precision, &pool)?;
        Ok(Self {
            info: BackendInfo {
                backend: "native",
                precision: weights.precision(),
                device: isa.to_string(),
                hidden_size: dims.hidden_size,
                vocab_size: Some(dims.vocab_size),
                max_tokens: Some(max_tokens),
                pooling: Pooling::LastToken,
            },
            model: Model {
                weights,
                rotary: RotaryTable::new(decoder.config.rope_theta, dims.head_dim, max_tokens),
                dims,
                pool,
                isa,
            },
            idle: Mutex::new(Vec::new()),
        })
    }

    fn check(&self, batch: &TokenBatch, out: &[f32]) -> Result<(), EngineError> {
        let dims = &self.model.dims;
        let (texts, hidden_size) = (batch.len(), dims.hidden_size);
        if texts.checked_mul(hidden_size) != Some(out.len()) {
            let actual = out.len();
            return Err(EngineError::Output {
                actual,
                texts,
                hidden_size,
            });
        }
        let (max, vocab_size) = (dims.max_position_embeddings, dims.vocab_size);
        for (text, ids) in batch.iter().enumerate() {
            let tokens = ids.len();
            if tokens == 0 {
                return Err(EngineError::EmptyText { text });
            }
            if tokens > max {
                return Err(EngineError::TooLong { text, tokens, max });
            }
            if let Some(&id) = ids.iter().find(|id| **id as usize >= vocab_size) {
                return Err(EngineError::TokenId {
                    text,
                    id,
                    vocab_size,
                });
            }
        }
        Ok(())
    }

    fn run(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), EngineError> {
        self.check(batch, out)?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace = idle().pop();
        let mut workspace =
            workspace.unwrap_or_else(|| Workspace::new(self.model.isa, self.model.pool.threads()));
        let width = self.model.dims.hidden_size;
        let texts: Vec<&[u32]> = batch.iter().collect();
        self.model.pool.enter(|| {
            passes(&texts).into_iter().try_for_each(|pass| {
                let out = &mut out[pass.start * width..pass.end * width];
                self.model.forward(&texts[pass], &mut workspace, out)
            })
        })?;
        if workspace.hidden.len() <= MAX_BATCH_TOKENS * width {
            let mut idle = idle();
            if idle.len() < IDLE_WORKSPACES {
                idle.push(workspace);
            }
        }
        Ok(())
    }
}

impl Backend for Engine {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        Ok(self.run(batch, out)?)
    }
}

/// Cuts texts into runs that fit into one pass each.
fn passes(texts: &[&[u32]]) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let (mut tokens, mut keys) = (0, 0);
    for (i, text) in texts.iter().enumerate() {
        tokens += text.len();
        keys += key_room(text.len());
        match passes.last_mut() {
            Some(pass) if tokens <= MAX_BATCH_TOKENS && keys <= MAX_BATCH_KEYS => pass.end = i + 1,
            _ => {
                passes.push(i..i + 1);
                (tokens, keys) = (text.len(), key_room(text.len()));
            }
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_keep_to_the_budget() {
        let cut = |lengths: &[usize]| {
            let ids = vec![0; 9000];
            let texts: Vec<&[u32]> = lengths.iter().map(|len| &ids[..*len]).collect();
            passes(&texts)
        };
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[9000, 1, 4095, 1]), [0..1, 1..3, 3..4]);
        assert_eq!(cut(&[1; 300]), [0..256, 256..300]);
    }
}

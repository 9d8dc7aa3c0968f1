//! The engine as a backend.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use akidb_backend::{Backend, BackendError, BackendInfo, GraphInterface, Pooling, TokenBatch};
use akidb_kernels::{Isa, KEY_TILE, KeyValueType, Precision};
use akidb_onnx::MappedFiles;
use akidb_transformer::{Head, Transformer};

use crate::dims::Dims;
use crate::error::EngineError;
use crate::head::DenseLayers;
use crate::pass::{Model, Prefix, Prefixes, Wanted, Workspace};
use crate::pool::Pool;
use crate::runnable;
use crate::weights::{PackedCache, Weights};

/// Tokens of a forward pass, unless one text has more.
const MAX_BATCH_TOKENS: usize = 2048;

/// Tokens that keys and values may take room for, where every text is rounded up to a tile.
const MAX_BATCH_KEYS: usize = 4 * MAX_BATCH_TOKENS;

/// How an engine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Number of threads; by default one for each core available.
    pub threads: Option<NonZeroUsize>,
    /// Instructions to use; by default the fastest this CPU has.
    pub isa: Option<Isa>,
    /// Arithmetic of the linear layers.
    pub precision: Precision,
    /// How a text's tokens become one vector; as the model's head has it, without.
    pub pooling: Option<Pooling>,
    /// Compute the tokens that the texts of several calls start with each time.
    pub no_prefix_cache: bool,
    /// Where packed weights are kept for the next start; nowhere without it.
    pub packed_cache: Option<PackedCache>,
}

/// Texts of a pass, and where the second segment of each begins.
#[derive(Debug, Clone, Copy)]
struct Texts<'a> {
    ids: &'a [&'a [u32]],
    second_segments: &'a [usize],
}

/// A model in memory, ready to run.
///
/// The linear weights are held as their precision needs them, and are known to be finite; the
/// embedding table stays in its file, and is not checked. A call works in passes of at most 2048
/// tokens, or one longer text; passes of several calls take turns. A pass needs the hidden states
/// of its tokens in f32, the keys and values of two layers (in bf16 where the linear layers are not
/// in f32 and the CPU has instructions for it), and the activations of 128 rows a thread. The
/// memory is kept from pass to pass, but not that of a longer text.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    /// Looked at before each pass.
    files: MappedFiles,
    info: BackendInfo,
    pooling: Pooling,
    dense: DenseLayers,
    /// Passes of several calls take turns.
    workspace: Mutex<Workspace>,
    /// `None` when none are kept.
    prefixes: Option<Mutex<Prefixes>>,
}

impl Engine {
    /// Packs the weights of `model`, or takes them from the cache.
    ///
    /// # Errors
    /// `InvalidModel` when the configuration has unusable sizes, tensors contradict it, can't be
    /// read or hold NaN or infinity; `UnsupportedModel` when a weight is stored in an unknown
    /// way; `Failed` when threads can't be started or memory runs out.
    pub fn new(model: &Transformer, options: EngineOptions) -> Result<Self, BackendError> {
        Ok(Self::pack(model, options)?)
    }

    /// Whether the packed weights came from the cache.
    pub fn is_from_cache(&self) -> bool {
        self.model.weights.from_cache
    }

    fn pack(model: &Transformer, options: EngineOptions) -> Result<Self, EngineError> {
        let dims = Dims::new(model)?;
        runnable::check(model)?;
        let pooling = options.pooling.unwrap_or_else(|| pooling(model.head));
        let threads = options
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let isa = options.isa.unwrap_or_else(Isa::detect);
        let pool = Pool::new(threads)?;
        let max_tokens = dims.max_position_embeddings;
        let cache = options.packed_cache.as_ref();
        let weights = Weights::pack(model, &dims, options.precision, isa, &pool, cache)?;
        if !weights.from_cache {
            // The weights were copied out of their files.
            akidb_onnx::release_pages();
        }
        Ok(Self {
            info: BackendInfo {
                backend: "native",
                precision: weights.precision().as_str(),
                device: isa.to_string(),
                hidden_size: model.output_size(),
                vocab_size: Some(dims.vocab_size),
                max_tokens: Some(max_tokens),
                pooling,
                graph: GraphInterface::default(),
            },
            pooling,
            dense: DenseLayers::new(model, isa)?,
            workspace: Mutex::new(Workspace::new(isa, pool.threads())),
            prefixes: (!options.no_prefix_cache && has_prefixes(model, pooling))
                .then(Mutex::default),
            files: weights.files(),
            model: Model {
                key_value_type: if isa.has_bf16() && weights.precision() != Precision::F32 {
                    KeyValueType::Bf16
                } else {
                    KeyValueType::F32
                },
                weights,
                dims,
                pool,
                isa,
            },
        })
    }

    /// `out` must have room for `rows` vectors or states.
    fn check(&self, batch: &TokenBatch, rows: usize, out: &[f32]) -> Result<(), EngineError> {
        let dims = &self.model.dims;
        let hidden_size = self.info.hidden_size;
        if rows.checked_mul(hidden_size) != Some(out.len()) {
            let actual = out.len();
            return Err(EngineError::Output {
                actual,
                rows,
                hidden_size,
            });
        }
        let (max, vocab_size) = (dims.max_position_embeddings, dims.vocab_size);
        let segments = batch.second_segments();
        let has_second = self.model.weights.embeddings.has_second_segment();
        for (text, (ids, second)) in batch.iter().zip(segments).enumerate() {
            let tokens = ids.len();
            if *second < tokens && !has_second {
                return Err(EngineError::SecondSegment { text });
            }
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
        self.check(batch, batch.len(), out)?;
        let texts: Vec<&[u32]> = batch.iter().collect();
        let prefix = self.prefix(batch)?;
        let prefix = prefix.as_deref();
        let (width, hidden_size) = (self.info.hidden_size, self.model.dims.hidden_size);
        for pass in passes(&texts) {
            let out = &mut out[pass.start * width..pass.end * width];
            let texts = Texts {
                ids: &texts[pass.clone()],
                second_segments: &batch.second_segments()[pass],
            };
            if !self.dense.is_empty() {
                let mut pooled = vec![0.0; texts.ids.len() * hidden_size];
                self.pooled(texts, prefix, &mut pooled)?;
                self.dense.apply(&pooled, out)?;
                continue;
            }
            self.pooled(texts, prefix, out)?;
        }
        Ok(())
    }

    /// What each text's states are pooled to.
    fn pooled(
        &self,
        texts: Texts<'_>,
        prefix: Option<&Prefix>,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        match self.pooling {
            Pooling::LastToken => self.pass(texts, Wanted::Last, prefix, out),
            Pooling::Cls => self.pass(texts, Wanted::First, None, out),
            Pooling::Mean | Pooling::Max | Pooling::MeanSqrtLen | Pooling::WeightedMean => {
                self.of_all_states(texts, out)
            }
        }
    }

    /// What pooling makes of all states of each text.
    fn of_all_states(&self, texts: Texts<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        let width = self.model.dims.hidden_size;
        let tokens: usize = texts.ids.iter().map(|text| text.len()).sum();
        let mut states = vec![0.0; tokens * width];
        self.pass(texts, Wanted::All, None, &mut states)?;
        let mut states = &states[..];
        let tasks = texts.ids.iter().zip(out.chunks_exact_mut(width));
        let tasks: Vec<_> = tasks
            .map(|(text, out)| {
                let (own, rest) = states.split_at(text.len() * width);
                states = rest;
                (own, out)
            })
            .collect();
        self.model.pool.for_each(tasks, |(own, out)| {
            self.pooling.pool(own, out);
            Ok(())
        })
    }

    fn run_all(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), EngineError> {
        let width = self.model.dims.hidden_size;
        if width != self.info.hidden_size {
            return Err(EngineError::StatesOfOtherWidth);
        }
        self.check(batch, batch.total_tokens(), out)?;
        let texts: Vec<&[u32]> = batch.iter().collect();
        let offsets = batch.offsets();
        for pass in passes(&texts) {
            let out = &mut out[offsets[pass.start] * width..offsets[pass.end] * width];
            let texts = Texts {
                ids: &texts[pass.clone()],
                second_segments: &batch.second_segments()[pass],
            };
            self.pass(texts, Wanted::All, None, out)?;
        }
        Ok(())
    }

    /// One pass, after which no memory is kept that only long texts need.
    fn pass(
        &self,
        texts: Texts<'_>,
        wanted: Wanted,
        prefix: Option<&Prefix>,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        self.files.check_unchanged().map_err(EngineError::Changed)?;
        let mut workspace = self.workspace();
        let Texts {
            ids,
            second_segments,
        } = texts;
        let done = self
            .model
            .forward(ids, second_segments, wanted, prefix, &mut workspace, out);
        if ids.iter().any(|text| text.len() > MAX_BATCH_TOKENS) {
            *workspace = Workspace::new(self.model.isa, self.model.pool.threads());
        }
        done
    }

    /// The keys and values of the tokens that all texts start with because of their prompt, once
    /// it is seen that they are used again.
    fn prefix(&self, batch: &TokenBatch) -> Result<Option<Arc<Prefix>>, EngineError> {
        let Some(prefixes) = &self.prefixes else {
            return Ok(None);
        };
        let ids = batch
            .text(0)
            .get(..batch.shared_prefix())
            .unwrap_or_default();
        let mut prefixes = prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prefix) = prefixes.get(ids) {
            return Ok(Some(prefix));
        }
        if !prefixes.admits(ids, batch.len()) {
            return Ok(None);
        }
        self.files.check_unchanged().map_err(EngineError::Changed)?;
        let prefix = Arc::new(self.model.prefix(ids, &mut self.workspace())?);
        prefixes.insert(Arc::clone(&prefix));
        Ok(Some(prefix))
    }

    fn workspace(&self) -> MutexGuard<'_, Workspace> {
        self.workspace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Engine {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        Ok(self.run(batch, out)?)
    }

    fn forward_all(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        Ok(self.run_all(batch, out)?)
    }
}

/// What the head is called outside.
fn pooling(head: Head) -> Pooling {
    match head {
        Head::LastToken => Pooling::LastToken,
        Head::FirstToken => Pooling::Cls,
        Head::Mean => Pooling::Mean,
        Head::Max => Pooling::Max,
        Head::MeanSqrtLen => Pooling::MeanSqrtLen,
        Head::WeightedMean => Pooling::WeightedMean,
    }
}

/// Whether what texts start with can be kept: nothing behind it may change it, and its states may
/// not be pooled.
fn has_prefixes(model: &Transformer, pooling: Pooling) -> bool {
    let mut blocks = model.blocks.iter();
    pooling == Pooling::LastToken && blocks.all(|block| block.attention.mask.is_causal())
}

/// Cuts texts into runs that fit into one pass each.
fn passes(texts: &[&[u32]]) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let (mut tokens, mut keys) = (0, 0);
    for (i, text) in texts.iter().enumerate() {
        tokens += text.len();
        keys += text.len().next_multiple_of(KEY_TILE);
        match passes.last_mut() {
            Some(pass) if tokens <= MAX_BATCH_TOKENS && keys <= MAX_BATCH_KEYS => pass.end = i + 1,
            _ => {
                passes.push(i..i + 1);
                (tokens, keys) = (text.len(), text.len().next_multiple_of(KEY_TILE));
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
        assert_eq!(cut(&[9000, 1, 2047, 1]), [0..1, 1..3, 3..4]);
        assert_eq!(cut(&[1; 300]), [0..128, 128..256, 256..300]);
    }
}

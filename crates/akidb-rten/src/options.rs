//! What the caller knows of the model, and how it wants it run.

use std::num::NonZeroUsize;

use akidb_backend::Pooling;
use akidb_graph::GraphOptions;

/// How to load and run a model.
///
/// ```
/// use akidb_backend::Pooling;
/// use akidb_rten::RtenOptions;
///
/// let options = RtenOptions {
///     max_tokens: Some(512),
///     ..RtenOptions::new(Pooling::Mean)
/// };
/// assert_eq!(options.output, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtenOptions {
    /// How one row is made of a text's tokens (from `1_Pooling/config.json`). Without effect on a
    /// graph that pools by itself.
    pub pooling: Pooling,
    /// Name of the graph output to take. `None` chooses: `sentence_embedding` if it is pooled,
    /// else `last_hidden_state`, `hidden_states`, `token_embeddings`, else the first f32 output
    /// of rank 3 that is not `present.*`.
    pub output: Option<String>,
    /// Threads of one run; `None` takes the processor's physical cores.
    pub threads: Option<NonZeroUsize>,
    /// Longest text in tokens. Memory grows with the square of the length, so a model of unknown
    /// limit should not be given texts of unknown length.
    pub max_tokens: Option<usize>,
    /// The width that `config.json` states; a graph of another width is refused.
    pub hidden_size: Option<usize>,
    /// Width of one key/value head by `config.json`, for graphs that don't tell the size of the
    /// cache that they take.
    pub head_dim: Option<usize>,
    /// Token id that fills up the shorter texts of a batch. Masked, so that any id of the
    /// vocabulary will do.
    pub pad_token_id: u32,
    /// Keep a second copy of the weights in the layout that products need. Short texts run
    /// several times faster, weights take twice the memory.
    pub prepack_weights: bool,
}

impl RtenOptions {
    /// `pooling`, and the default of everything else: nothing stated, nothing limited, weights
    /// not prepacked, pad id 0.
    pub fn new(pooling: Pooling) -> Self {
        Self {
            pooling,
            output: None,
            threads: None,
            max_tokens: None,
            hidden_size: None,
            head_dim: None,
            pad_token_id: 0,
            prepack_weights: false,
        }
    }

    pub(crate) fn graph(&self) -> GraphOptions {
        GraphOptions {
            pooling: self.pooling,
            output: self.output.clone(),
            max_tokens: self.max_tokens,
            hidden_size: self.hidden_size,
            head_dim: self.head_dim,
            pad_token_id: self.pad_token_id,
        }
    }
}

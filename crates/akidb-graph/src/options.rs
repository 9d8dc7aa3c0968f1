//! What the caller knows of the model.

use akidb_backend::Pooling;

/// Facts that a graph doesn't tell, and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphOptions {
    /// How one row is made of a text's tokens (from `1_Pooling/config.json`). Without effect on a
    /// graph that pools by itself.
    pub pooling: Pooling,
    /// Which of the graph's outputs to take.
    pub output: OutputChoice,
    /// Longest text in tokens. Memory grows with the square of the length, so a model of unknown
    /// limit should not be given texts of unknown length.
    pub max_tokens: Option<usize>,
    /// The width of hidden states that `config.json` states; a graph of another width is refused.
    pub hidden_size: Option<usize>,
    /// Width of one key/value head by `config.json`, for graphs that don't tell the size of the
    /// cache that they take.
    pub head_dim: Option<usize>,
    /// Token id that fills up the shorter texts of a batch. Masked, so that any id of the
    /// vocabulary will do.
    pub pad_token_id: u32,
}

impl GraphOptions {
    /// `pooling`, nothing else stated, nothing limited, pad id 0.
    pub fn new(pooling: Pooling) -> Self {
        Self {
            pooling,
            output: OutputChoice::Likely,
            max_tokens: None,
            hidden_size: None,
            head_dim: None,
            pad_token_id: 0,
        }
    }
}

/// Which of a graph's outputs is the embedding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OutputChoice {
    /// `sentence_embedding` if it is pooled, else `last_hidden_state`, `hidden_states`,
    /// `token_embeddings`, else the first float output of rank 3 that is not `present.*`, else the only
    /// one of rank 2.
    #[default]
    Likely,
    /// The one of this name.
    Named(String),
    /// One that the graph has pooled, because further modules of the model change it after that: the
    /// last of these is named.
    Pooled {
        /// As in `Dense`.
        module: String,
    },
    /// `logits`, or what else a reranker's exporters call its scores.
    Scores,
    /// One that it has not pooled: the caller wants another pooling than the graph's.
    HiddenStates,
}

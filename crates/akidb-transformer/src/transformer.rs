//! A transformer as data, whatever file it came from.

use akidb_onnx::tensor::Tensor;

use crate::config::DecoderConfig;
use crate::weights::{EmbeddingTable, Linear};

/// From token ids to what a text is pooled to.
#[derive(Debug, Clone)]
pub struct Transformer {
    /// From token ids to the residual stream.
    pub embeddings: Embeddings,
    /// First block first.
    pub blocks: Vec<Block>,
    /// Of the residual stream behind the last block.
    pub final_norm: Option<Norm>,
    /// What becomes of a text's states.
    pub head: Head,
    /// Longest text in tokens.
    pub max_tokens: usize,
}

/// From token ids to the residual stream.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    pub words: EmbeddingTable,
    /// What the words' vectors are multiplied by.
    pub scale: Option<f32>,
    /// Added by position.
    pub positions: Option<PositionTable>,
    /// Added by segment: row 0, as a text has one.
    pub token_types: Option<EmbeddingTable>,
    /// Of the sum.
    pub norm: Option<Norm>,
}

/// Learned positions.
#[derive(Debug, Clone)]
pub struct PositionTable {
    /// `[rows, hidden_size]`.
    pub table: EmbeddingTable,
    /// Row of a text's first token.
    pub first_row: usize,
}

/// Attention and an MLP, each added to the residual stream.
#[derive(Debug, Clone)]
pub struct Block {
    /// The first branch.
    pub attention: Attention,
    /// Norms around it.
    pub attention_norms: BranchNorms,
    /// The second branch.
    pub mlp: Mlp,
    /// Norms around it.
    pub mlp_norms: BranchNorms,
}

/// Norms around a branch whose output is added to the residual stream.
#[derive(Debug, Clone, Default)]
pub struct BranchNorms {
    /// Of what the branch reads; the stream goes on without it.
    pub before: Option<Norm>,
    /// Of what the branch gives, before it is added.
    pub after: Option<Norm>,
    /// Of the sum, which is then the stream.
    pub of_sum: Option<Norm>,
}

/// A norm of rows.
#[derive(Debug, Clone)]
pub struct Norm {
    /// How rows are normalised.
    pub kind: NormKind,
    /// What they are multiplied by.
    pub weight: Tensor,
    /// What is added then.
    pub bias: Option<Tensor>,
    /// Added to the mean of squares.
    pub epsilon: f32,
}

/// How rows are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// To a root mean square of 1.
    Rms,
    /// The same, where the weight is stored less 1.
    RmsPlusOne,
    /// To a mean of 0 and a variance of 1.
    Layer,
}

/// Which tokens look at which, and what they gather.
#[derive(Debug, Clone)]
pub struct Attention {
    /// `hidden_size` → `heads * head_dim`.
    pub query: Linear,
    /// `hidden_size` → `key_value_heads * head_dim`.
    pub key: Linear,
    /// `hidden_size` → `key_value_heads * head_dim`.
    pub value: Linear,
    /// `heads * head_dim` → `hidden_size`.
    pub output: Linear,
    /// Of each query head.
    pub query_norm: Option<Norm>,
    /// Of each key head.
    pub key_norm: Option<Norm>,
    /// Query heads, a multiple of `key_value_heads`.
    pub heads: usize,
    /// Heads of keys and of values.
    pub key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// How queries and keys are turned by their positions.
    pub rotary: Option<Rotary>,
    /// Where tokens look.
    pub mask: Mask,
}

/// Turns pairs of a head's elements, each pair half a width apart, by angles that grow with the
/// position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies.
    pub base: f64,
    /// Elements of a head that are turned, from the first on.
    pub width: usize,
}

/// Where a token looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// At itself and what is before it.
    Causal,
    /// At the whole text.
    Full,
    /// At what is at most so many tokens away, on either side.
    Window(usize),
}

/// Two products with an activation between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// `hidden_size` → inner width; what passes the activation, where `up` is multiplied by it.
    pub gate: Option<Linear>,
    /// `hidden_size` → inner width; passes the activation where there is no gate.
    pub up: Linear,
    /// Inner width → `hidden_size`.
    pub down: Linear,
    /// Between them.
    pub activation: Activation,
}

impl Mlp {
    /// Inner width.
    pub fn inner_size(&self) -> usize {
        self.gate.as_ref().unwrap_or(&self.up).out_features()
    }
}

/// A function of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x), by the error function.
    GeluErf,
    /// The same, approximated by tanh.
    GeluTanh,
}

/// What becomes of a text's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// That of its last token is taken.
    LastToken,
    /// That of its first token is taken.
    FirstToken,
    /// Their mean is taken.
    Mean,
}

impl Transformer {
    /// Width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        self.embeddings.words.hidden_size()
    }

    /// Number of tokens that there are.
    pub fn vocab_size(&self) -> usize {
        self.embeddings.words.vocab_size()
    }

    /// Sizes and constants as a decoder's `config.json` has them, taken from the first block; 0
    /// where there is none of a thing.
    pub fn decoder_config(&self) -> DecoderConfig {
        let first = self.blocks.first();
        let attention = first.map(|block| &block.attention);
        let of_attention = |size: fn(&Attention) -> usize| attention.map_or(0, size);
        let rotary = attention.and_then(|attention| attention.rotary);
        DecoderConfig {
            hidden_size: self.hidden_size(),
            num_hidden_layers: self.blocks.len(),
            num_attention_heads: of_attention(|a| a.heads),
            num_key_value_heads: of_attention(|a| a.key_value_heads),
            head_dim: of_attention(|a| a.head_dim),
            intermediate_size: first.map_or(0, |block| block.mlp.inner_size()),
            vocab_size: self.vocab_size(),
            rms_norm_eps: self.final_norm.as_ref().map_or(0.0, |norm| norm.epsilon),
            rope_theta: rotary.map_or(0.0, |rotary| rotary.base),
            max_position_embeddings: self.max_tokens,
        }
    }
}

//! A transformer as data, whatever file it came from.

use akidb_onnx::tensor::Tensor;

use crate::config::DecoderConfig;
use crate::rotary::Rotary;
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
    /// What the pooled state passes then, in order.
    pub dense: Vec<Dense>,
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
    /// A token that isn't counted, and has the row of its own id.
    pub padding: Option<u32>,
}

impl PositionTable {
    /// The row of each token of a text.
    pub fn rows_of(&self, ids: &[u32]) -> impl Iterator<Item = usize> {
        let mut next = self.first_row;
        ids.iter().map(move |id| {
            if self.padding == Some(*id) {
                return *id as usize;
            }
            next += 1;
            next - 1
        })
    }
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
    /// What is added to scores by how far a key is from the query.
    pub relative_bias: Option<RelativeBias>,
}

/// Added to scores, by buckets of distances: half of them for keys behind the query, and of each half
/// one for each small distance, the rest for ranges that grow up to the largest.
#[derive(Debug, Clone)]
pub struct RelativeBias {
    /// `[buckets, heads]`.
    pub table: EmbeddingTable,
    /// From here on, distances share the last bucket.
    pub max_distance: usize,
}

impl RelativeBias {
    /// The bucket of a key so far behind the query, or before it.
    pub fn bucket(&self, behind: isize) -> usize {
        let half = self.table.vocab_size() / 2;
        let exact = half / 2;
        let distance = behind.unsigned_abs();
        let bucket = if distance < exact || exact == 0 {
            distance
        } else {
            // In f32, as the model was trained.
            let range = (self.max_distance as f64 / exact as f64).ln() as f32;
            let place = (distance as f32 / exact as f32).ln() / range * (half - exact) as f32;
            exact + place as usize
        };
        let first = if behind > 0 { half } else { 0 };
        first + bucket.min(half.saturating_sub(1))
    }
}

/// Where a token looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// At itself and what is before it.
    Causal,
    /// At the whole text.
    Full,
    /// At what is near.
    Window {
        /// So many tokens before itself,
        before: usize,
        /// and behind it.
        after: usize,
    },
}

impl Mask {
    /// Whether a token sees nothing behind it.
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Causal | Self::Window { after: 0, .. })
    }
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
    /// The largest of each column is taken.
    Max,
    /// Their sum is taken, divided by the square root of how many they are.
    MeanSqrtLen,
    /// Their mean is taken, the n-th counted n times.
    WeightedMean,
}

/// A layer that makes scores of a pooled state, in f32.
#[derive(Debug, Clone)]
pub enum ScoreLayer {
    /// Any width → any other.
    Linear(Box<Linear>),
    /// The hyperbolic tangent.
    Tanh,
    /// The larger of a value and 0.
    Relu,
    /// One that blocks have, too.
    Activation(Activation),
    /// Over all values.
    Norm(Norm),
}

/// A layer behind the pooling.
#[derive(Debug, Clone)]
pub struct Dense {
    /// As wide as what comes before it → any width.
    pub linear: Linear,
    /// What its outputs pass.
    pub activation: DenseActivation,
}

/// A function of single values, behind the pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenseActivation {
    /// x.
    Identity,
    /// tanh x.
    Tanh,
}

impl Transformer {
    /// Width of a text's vector.
    pub fn output_size(&self) -> usize {
        let last = self.dense.last();
        last.map_or(self.hidden_size(), |dense| dense.linear.out_features())
    }

    /// Width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        self.embeddings.words.hidden_size()
    }

    /// Number of tokens that there are.
    pub fn vocab_size(&self) -> usize {
        self.embeddings.words.vocab_size()
    }

    /// Whether tokens see what is behind them.
    pub fn is_encoder(&self) -> bool {
        let mut masks = self.blocks.iter().map(|block| block.attention.mask);
        masks.any(|mask| !mask.is_causal())
    }

    /// Whether a linear layer's weights are codes, and not f32, f16 or bf16.
    pub fn is_quantized(&self) -> bool {
        self.linears().any(|linear| linear.weight().is_quantized())
    }

    /// The linear layers of all blocks.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.blocks.iter().flat_map(|block| {
            let Attention {
                query,
                key,
                value,
                output,
                ..
            } = &block.attention;
            let Mlp { gate, up, down, .. } = &block.mlp;
            [query, key, value, output, up, down]
                .into_iter()
                .chain(gate)
        })
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

#[cfg(test)]
mod tests {
    use akidb_onnx::tensor::{DataType, Tensor};

    use super::*;

    fn table(rows: usize) -> EmbeddingTable {
        let data = vec![0; 4 * rows].into();
        let tensor = Tensor::new("table", DataType::F32, vec![rows, 1], data);
        EmbeddingTable::new(tensor.unwrap()).unwrap()
    }

    #[test]
    fn distances_fall_into_the_buckets_of_t5() {
        let bias = RelativeBias {
            table: table(32),
            max_distance: 128,
        };
        for (behind, bucket) in [
            (0, 0),
            (-1, 1),
            (1, 17),
            (-7, 7),
            (7, 23),
            (-8, 8),
            (8, 24),
            (-11, 8),
            (-12, 9),
            (15, 25),
            (16, 26),
            (-64, 14),
            (90, 30),
            (-91, 15),
            (127, 31),
            (5000, 31),
        ] {
            assert_eq!(bias.bucket(behind), bucket, "{behind}");
        }
    }

    #[test]
    fn positions_are_counted_from_the_first_row_on() {
        let mut positions = PositionTable {
            table: table(9),
            first_row: 2,
            padding: Some(1),
        };
        let rows = |positions: &PositionTable| {
            let rows = positions.rows_of(&[0, 5, 1, 1, 6]);
            rows.collect::<Vec<_>>()
        };
        assert_eq!(rows(&positions), [2, 3, 1, 1, 4]);
        positions.padding = None;
        assert_eq!(rows(&positions), [2, 3, 4, 5, 6]);
    }
}

//! The normal form: what the nodes of a layer come to, however they are spelled. A rule of `rules/` makes
//! each of these, and `reader.rs` goes from one to the next.

use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use crate::weights::Linear;

/// The residual stream at one point.
#[derive(Clone, Copy)]
pub(super) enum Stream<'m> {
    /// The sum of the first two inputs of an `Add` or `SkipSimplifiedLayerNormalization`.
    Sum(&'m NodeProto),
    /// Anything else.
    Value(&'m str),
}

/// An RMSNorm of the residual stream.
pub(super) struct Norm<'m> {
    pub(super) node: &'m NodeProto,
    pub(super) weight: Tensor,
    pub(super) input: Stream<'m>,
}

/// `down(silu(gate(x)) * up(x))`.
pub(super) struct GatedMlp<'m> {
    pub(super) input: &'m str,
    pub(super) gate_proj: Linear,
    pub(super) up_proj: Linear,
    pub(super) down_proj: Linear,
}

/// A projection whose heads are normalised.
pub(super) struct Projection<'m> {
    pub(super) input: &'m str,
    pub(super) proj: Linear,
    pub(super) norm: Tensor,
}

impl Projection<'_> {
    pub(super) fn head_dim(&self) -> usize {
        self.norm.len()
    }

    pub(super) fn heads(&self) -> usize {
        self.proj.out_features() / self.head_dim().max(1)
    }
}

/// Attention of projected heads, whose mask and scale have been looked at.
pub(super) struct Attention<'m> {
    pub(super) node: &'m NodeProto,
    /// Normed and rotated.
    pub(super) query: Projection<'m>,
    /// Normed and rotated.
    pub(super) key: Projection<'m>,
    pub(super) value: Linear,
    /// What `value` is of.
    pub(super) value_input: &'m str,
    pub(super) heads: Heads,
}

/// The numbers that all layers must agree on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
}

/// What decides to which tokens a token attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask<'m> {
    /// Of `MultiHeadAttention` and `Attention`: the mask, and if they are causal without one.
    Bias(Option<&'m str>, bool),
    /// Of `GroupQueryAttention`, which is always causal: `seqlens_k` and
    /// `total_sequence_length`.
    Lengths(&'m str, &'m str),
}

/// The tables of cosines and of sines: each the input of a node.
pub(super) type RotaryTables<'m> = [(&'m NodeProto, usize); 2];

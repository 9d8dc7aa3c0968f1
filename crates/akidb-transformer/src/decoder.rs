//! The one kind of transformer that is run from its parts today, and what tells another from it.

use akidb_onnx::tensor::Tensor;

use crate::rotary::RotaryScaling;
use crate::transformer::{Activation, Block, BranchNorms, Head, Mask, Norm, NormKind, Transformer};
use crate::weights::Linear;

/// The weights of a block of a causal decoder: RMSNorm before attention and before the MLP, heads
/// normed and turned, SiLU in a gated MLP, no bias. Named as in Hugging Face's models.
#[derive(Debug, Clone, Copy)]
pub struct DecoderBlock<'a> {
    /// Before attention.
    pub input_layernorm: &'a Tensor,
    /// Of queries.
    pub q_proj: &'a Linear,
    /// Of keys.
    pub k_proj: &'a Linear,
    /// Of values.
    pub v_proj: &'a Linear,
    /// Of each query head.
    pub q_norm: &'a Tensor,
    /// Of each key head.
    pub k_norm: &'a Tensor,
    /// Of what the heads gather.
    pub o_proj: &'a Linear,
    /// Before the MLP.
    pub post_attention_layernorm: &'a Tensor,
    /// What passes SiLU.
    pub gate_proj: &'a Linear,
    /// What that is multiplied by.
    pub up_proj: &'a Linear,
    /// Of their product.
    pub down_proj: &'a Linear,
}

/// What a transformer has that [`DecoderBlock`] can't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotADecoder {
    /// No block at all.
    NoBlocks,
    /// More than words becomes the residual stream.
    Embeddings,
    /// Norms are elsewhere than before a branch, or missing there.
    NormPlace,
    /// A norm is no plain RMSNorm.
    NormKind,
    /// Norms have different epsilons.
    Epsilons,
    /// Heads of queries or keys aren't normed.
    HeadNorm,
    /// A linear layer has a bias.
    Bias,
    /// Heads aren't turned by their positions, or not the whole of them.
    Rotary,
    /// Scores have another scale than 1 / √head_dim.
    Scale,
    /// Attention isn't causal.
    Mask,
    /// The MLP has no gate, or another activation than SiLU.
    Mlp,
    /// Blocks differ in their heads or in their rotary embedding.
    BlocksDiffer,
    /// A text isn't pooled by its last token.
    Head,
}

impl std::fmt::Display for NotADecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoBlocks => "it has no blocks",
            Self::Embeddings => "its embeddings are more than a table of words",
            Self::NormPlace => "its norms do not all stand before attention and MLP",
            Self::NormKind => "it has a norm that is no plain RMSNorm",
            Self::Epsilons => "its norms have different epsilons",
            Self::HeadNorm => "its queries and keys are not normed",
            Self::Bias => "it has a linear layer with a bias",
            Self::Rotary => "its heads are not turned by rotary embeddings as a whole",
            Self::Scale => "its scores have another scale than 1 / √head_dim",
            Self::Mask => "its attention is not causal",
            Self::Mlp => "its MLP is not gated by SiLU",
            Self::BlocksDiffer => "its blocks differ in more than their weights",
            Self::Head => "it is not pooled by the last token",
        })
    }
}

impl std::error::Error for NotADecoder {}

impl Transformer {
    /// Its blocks and its final norm, where it is a causal decoder.
    ///
    /// # Errors
    /// What makes it another model.
    pub fn decoder_blocks(&self) -> Result<(Vec<DecoderBlock<'_>>, &Tensor), NotADecoder> {
        let embeddings = &self.embeddings;
        let plain = embeddings.scale.is_none()
            && embeddings.positions.is_none()
            && embeddings.token_types.is_none()
            && embeddings.norm.is_none();
        if !plain {
            return Err(NotADecoder::Embeddings);
        }
        if self.head != Head::LastToken || !self.dense.is_empty() {
            return Err(NotADecoder::Head);
        }
        let (Some(first), Some(norm)) = (self.blocks.first(), &self.final_norm) else {
            return Err(NotADecoder::NoBlocks);
        };
        let epsilon = norm.epsilon;
        let sizes = |block: &Block| {
            let attention = &block.attention;
            let (heads, key_value_heads) = (attention.heads, attention.key_value_heads);
            (heads, key_value_heads, attention.head_dim, attention.rotary)
        };
        if self.blocks.iter().any(|block| sizes(block) != sizes(first)) {
            return Err(NotADecoder::BlocksDiffer);
        }
        let blocks = self
            .blocks
            .iter()
            .map(|block| decoder_block(block, epsilon));
        Ok((blocks.collect::<Result<_, _>>()?, rms(norm, epsilon)?))
    }
}

fn decoder_block(block: &Block, epsilon: f32) -> Result<DecoderBlock<'_>, NotADecoder> {
    let (attention, mlp) = (&block.attention, &block.mlp);
    if attention.mask != Mask::Causal || attention.relative_bias.is_some() {
        return Err(NotADecoder::Mask);
    }
    if attention.rotary.is_none_or(|rotary| {
        rotary.width != attention.head_dim
            || rotary.position_scale != 1.0
            || rotary.scaling != RotaryScaling::None
    }) {
        return Err(NotADecoder::Rotary);
    }
    if attention.scale != 1.0 / (attention.head_dim as f32).sqrt() {
        return Err(NotADecoder::Scale);
    }
    let (Some(gate), Activation::Silu) = (&mlp.gate, mlp.activation) else {
        return Err(NotADecoder::Mlp);
    };
    let (Some(q_norm), Some(k_norm)) = (&attention.query_norm, &attention.key_norm) else {
        return Err(NotADecoder::HeadNorm);
    };
    let block = DecoderBlock {
        input_layernorm: before(&block.attention_norms, epsilon)?,
        q_proj: &attention.query,
        k_proj: &attention.key,
        v_proj: &attention.value,
        q_norm: rms(q_norm, epsilon)?,
        k_norm: rms(k_norm, epsilon)?,
        o_proj: &attention.output,
        post_attention_layernorm: before(&block.mlp_norms, epsilon)?,
        gate_proj: gate,
        up_proj: &mlp.up,
        down_proj: &mlp.down,
    };
    match block.linears().iter().any(|linear| linear.bias().is_some()) {
        true => Err(NotADecoder::Bias),
        false => Ok(block),
    }
}

impl<'a> DecoderBlock<'a> {
    /// All linear layers.
    pub fn linears(&self) -> [&'a Linear; 7] {
        [
            self.q_proj,
            self.k_proj,
            self.v_proj,
            self.o_proj,
            self.gate_proj,
            self.up_proj,
            self.down_proj,
        ]
    }
}

/// The only norm of a branch, before it.
fn before(norms: &BranchNorms, epsilon: f32) -> Result<&Tensor, NotADecoder> {
    match norms {
        BranchNorms {
            before: Some(norm),
            after: None,
            of_sum: None,
        } => rms(norm, epsilon),
        _ => Err(NotADecoder::NormPlace),
    }
}

fn rms(norm: &Norm, epsilon: f32) -> Result<&Tensor, NotADecoder> {
    if norm.kind != NormKind::Rms || norm.bias.is_some() {
        return Err(NotADecoder::NormKind);
    }
    if norm.epsilon != epsilon {
        return Err(NotADecoder::Epsilons);
    }
    Ok(&norm.weight)
}

//! Which transformers the engine runs.

use akidb_transformer::{Activation, Attention, Block, Mask, NormKind, Transformer};

/// What a transformer has that the engine can't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRunnable {
    /// A branch is normed before it is added.
    NormAfter,
    /// Heads are normed otherwise than by RMSNorm, or only those of queries or of keys.
    HeadNorm,
    /// Heads are turned but not normed, normed but not turned, or turned in part.
    Rotary,
    /// A window, or a bias of scores under a causal mask.
    Mask,
    /// An MLP with a gate has a bias there, or another activation than SiLU.
    Gate,
    /// An MLP without a gate has SiLU.
    Activation,
    /// Some blocks have a gate, others have none.
    MixedMlps,
    /// Blocks differ in their heads or in their rotary embedding.
    BlocksDiffer,
}

impl std::fmt::Display for NotRunnable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NormAfter => "its branches are normed before they are added",
            Self::HeadNorm => "its heads are not normed alike by RMSNorm",
            Self::Rotary => "its heads are not both normed and turned as a whole, or neither",
            Self::Mask => "its attention sees a window, or is causal with a bias",
            Self::Gate => "its MLP's gate has a bias or another activation than SiLU",
            Self::Activation => "its MLP has SiLU without a gate",
            Self::MixedMlps => "only some of its MLPs have a gate",
            Self::BlocksDiffer => "its blocks differ in more than their weights",
        })
    }
}

impl std::error::Error for NotRunnable {}

/// Refuses what can't be run.
pub(crate) fn check(model: &Transformer) -> Result<(), NotRunnable> {
    let Some(first) = model.blocks.first() else {
        return Ok(());
    };
    model.blocks.iter().try_for_each(|block| {
        check_block(block)?;
        if block.mlp.gate.is_some() != first.mlp.gate.is_some() {
            return Err(NotRunnable::MixedMlps);
        }
        let sizes = |a: &Attention| (a.heads, a.key_value_heads, a.head_dim, a.rotary);
        if sizes(&block.attention) != sizes(&first.attention) {
            return Err(NotRunnable::BlocksDiffer);
        }
        Ok(())
    })
}

fn check_block(block: &Block) -> Result<(), NotRunnable> {
    let (attention, mlp) = (&block.attention, &block.mlp);
    if block.attention_norms.after.is_some() || block.mlp_norms.after.is_some() {
        return Err(NotRunnable::NormAfter);
    }
    let has_bias = |linear: &akidb_transformer::Linear| linear.bias().is_some();
    match (&attention.query_norm, &attention.key_norm) {
        (None, None) if attention.rotary.is_none() => {}
        (Some(query), Some(key)) => {
            let plain = |norm: &akidb_transformer::Norm| {
                norm.kind != NormKind::Layer && norm.bias.is_none()
            };
            if !plain(query) || !plain(key) {
                return Err(NotRunnable::HeadNorm);
            }
            let turned = attention.rotary.map(|rotary| rotary.width);
            if turned != Some(attention.head_dim) {
                return Err(NotRunnable::Rotary);
            }
        }
        (None, None) => return Err(NotRunnable::Rotary),
        _ => return Err(NotRunnable::HeadNorm),
    }
    match (attention.mask, &attention.relative_bias) {
        (Mask::Causal, None) | (Mask::Full, _) => {}
        _ => return Err(NotRunnable::Mask),
    }
    match (&mlp.gate, mlp.activation) {
        (Some(gate), Activation::Silu) if !has_bias(gate) && !has_bias(&mlp.up) => Ok(()),
        (Some(_), _) => Err(NotRunnable::Gate),
        (None, Activation::Silu) => Err(NotRunnable::Activation),
        (None, Activation::GeluErf | Activation::GeluTanh) => Ok(()),
    }
}

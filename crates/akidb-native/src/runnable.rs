//! Which transformers the engine runs.

use akidb_transformer::{Activation, Attention, Block, Mask, Norm, NormKind, Transformer};

/// What a transformer has that the engine can't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRunnable {
    /// Heads are normed otherwise than by RMSNorm.
    HeadNorm,
    /// Heads are turned in part.
    Rotary,
    /// A bias of scores where tokens don't see the whole text.
    Mask,
    /// An MLP with a gate has a bias there.
    Gate,
    /// An MLP without a gate has SiLU.
    Activation,
    /// Some blocks have a gate, others have none.
    MixedMlps,
    /// Blocks differ in their heads.
    BlocksDiffer,
}

impl std::fmt::Display for NotRunnable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HeadNorm => "its heads are normed otherwise than by RMSNorm",
            Self::Rotary => "its heads are turned in part only",
            Self::Mask => "its attention has a bias, and does not see the whole text",
            Self::Gate => "its MLP's gate has a bias",
            Self::Activation => "its MLP has SiLU without a gate",
            Self::MixedMlps => "only some of its MLPs have a gate",
            Self::BlocksDiffer => "its blocks differ in their heads",
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
        let sizes = |a: &Attention| (a.heads, a.key_value_heads, a.head_dim);
        if sizes(&block.attention) != sizes(&first.attention) {
            return Err(NotRunnable::BlocksDiffer);
        }
        Ok(())
    })
}

fn check_block(block: &Block) -> Result<(), NotRunnable> {
    let (attention, mlp) = (&block.attention, &block.mlp);
    let is_rms = |norm: &Norm| norm.kind != NormKind::Layer && norm.bias.is_none();
    let mut norms = attention.query_norm.iter().chain(&attention.key_norm);
    if !norms.all(is_rms) {
        return Err(NotRunnable::HeadNorm);
    }
    if attention
        .rotary
        .is_some_and(|rotary| rotary.width != attention.head_dim)
    {
        return Err(NotRunnable::Rotary);
    }
    if attention.relative_bias.is_some() && attention.mask != Mask::Full {
        return Err(NotRunnable::Mask);
    }
    match &mlp.gate {
        Some(gate) if gate.bias().is_some() || mlp.up.bias().is_some() => Err(NotRunnable::Gate),
        None if mlp.activation == Activation::Silu => Err(NotRunnable::Activation),
        _ => Ok(()),
    }
}

//! One block of the model, walked through once for every way in which threads share it.

use akidb_kernels::{Epilogue, Isa, gelu_erf, gelu_tanh};
use akidb_transformer::Activation;

use crate::dims::Dims;
use crate::error::EngineError;
use crate::weights::{InnerActivation, Layer, Norm, Norms, Product};

/// Activations of the rows at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activations {
    /// The residual stream.
    Hidden,
    /// What queries gathered.
    Attended,
    /// Inside the MLP.
    Inner,
    /// What a branch gives that is normalised before it is added to the residual stream.
    Branch,
}

impl Activations {
    /// Width of a row.
    pub(super) fn width(self, dims: &Dims) -> usize {
        match self {
            Self::Hidden | Self::Branch => dims.hidden_size,
            Self::Attended => dims.q_width,
            Self::Inner => dims.intermediate_size,
        }
    }
}

/// What becomes of a row before it is multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before<'a> {
    Nothing,
    Norm(&'a Norm),
    Activation(Activation),
}

impl<'a> Before<'a> {
    pub(super) fn norm(norm: Option<&'a Norm>) -> Self {
        norm.map_or(Self::Nothing, Self::Norm)
    }

    /// Does it.
    pub(super) fn apply(self, isa: Isa, row: &mut [f32]) -> Result<(), EngineError> {
        match self {
            Self::Nothing => {}
            Self::Norm(norm) => norm.apply(isa, row)?,
            Self::Activation(Activation::GeluErf) => gelu_erf(isa, row),
            Self::Activation(Activation::GeluTanh) => gelu_tanh(isa, row),
            // Only behind a gate, where the product has it as its epilogue.
            Self::Activation(Activation::Silu) => {}
        }
        Ok(())
    }
}

/// What of a block is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Only what other rows look at.
    KeysAndValues,
    /// All else, where keys and values are there.
    Rest,
}

/// A way in which threads share the arithmetic of a block.
pub(super) trait Split {
    /// Multiplies the rows of `from`, after what comes `before`, with all of a weight.
    fn product(
        &mut self,
        from: Activations,
        before: Before<'_>,
        product: &Product,
        epilogue: Epilogue<'_>,
        to: Activations,
    ) -> Result<(), EngineError>;

    /// Normalises the residual stream, which all threads have added to.
    fn normalise(&mut self, norm: &Norm) -> Result<(), EngineError>;

    /// Normalises [`Activations::Branch`], which all threads have written, and adds it to the
    /// residual stream.
    fn add_normed(&mut self, norm: &Norm) -> Result<(), EngineError>;

    /// From [`Activations::Hidden`] to [`Activations::Attended`]: q, k and v, each head's keys and
    /// values put away, and what its queries gather; or only a part of it.
    fn attend(&mut self, part: Part) -> Result<(), EngineError>;

    /// Waits for what other threads compute of the rows at work.
    fn wait(&self) -> Result<(), EngineError>;
}

/// Takes the rows of `split` through a part of a block.
pub(super) fn block(split: &mut impl Split, layer: &Layer, part: Part) -> Result<(), EngineError> {
    use Activations::{Attended, Hidden, Inner};
    let nothing = Before::Nothing;
    split.attend(part)?;
    if part == Part::KeysAndValues {
        return Ok(());
    }
    split.wait()?;
    let (norms, inner) = (&layer.attention_norms, &layer.inner);
    add_branch(split, Attended, nothing, &layer.o, norms)?;
    let norm = Before::norm(layer.mlp_norms.before.as_ref());
    let (to_inner, activation) = match layer.activation {
        InnerActivation::Plain(activation) => (
            Epilogue::store(inner.bias()),
            Before::Activation(activation),
        ),
        InnerActivation::Gated(gate) => (Epilogue::Gated(gate), nothing),
    };
    split.product(Hidden, norm, inner, to_inner, Inner)?;
    split.wait()?;
    add_branch(split, Inner, activation, &layer.down, &layer.mlp_norms)
}

/// Adds what a branch ends with to the residual stream.
fn add_branch(
    split: &mut impl Split,
    from: Activations,
    before: Before<'_>,
    last: &Product,
    norms: &Norms,
) -> Result<(), EngineError> {
    use Activations::{Branch, Hidden};
    match &norms.after {
        None => split.product(from, before, last, Epilogue::add(last.bias()), Hidden)?,
        Some(norm) => {
            split.product(from, before, last, Epilogue::store(last.bias()), Branch)?;
            split.wait()?;
            split.add_normed(norm)?;
        }
    }
    split.wait()?;
    match &norms.of_sum {
        Some(norm) => split.normalise(norm),
        None => Ok(()),
    }
}

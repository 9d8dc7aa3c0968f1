//! One block of the model, walked through once for every way in which threads share it.

use akidb_kernels::{Epilogue, Weight};

use crate::dims::Dims;
use crate::error::EngineError;
use crate::weights::Layer;

/// Activations of the rows at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activations {
    /// The residual stream.
    Hidden,
    /// What queries gathered.
    Attended,
    /// Inside the MLP.
    Inner,
}

impl Activations {
    /// Width of a row.
    pub(super) fn width(self, dims: &Dims) -> usize {
        match self {
            Self::Hidden => dims.hidden_size,
            Self::Attended => dims.q_width,
            Self::Inner => dims.intermediate_size,
        }
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
    /// Multiplies the rows of `from`, after their norm if there is one, with all of `weight`.
    fn product(
        &mut self,
        from: Activations,
        norm: Option<&[f32]>,
        weight: &Weight,
        epilogue: Epilogue,
        to: Activations,
    ) -> Result<(), EngineError>;

    /// From [`Activations::Hidden`] to [`Activations::Attended`]: q, k and v, each head's keys and
    /// values put away, and what its queries gather; or only a part of it.
    fn attend(&mut self, part: Part) -> Result<(), EngineError>;

    /// Waits for what other threads compute of the rows at work.
    fn wait(&self) -> Result<(), EngineError>;
}

/// Takes the rows of `split` through a part of a block.
pub(super) fn block(split: &mut impl Split, layer: &Layer, part: Part) -> Result<(), EngineError> {
    use Activations::{Attended, Hidden, Inner};
    split.attend(part)?;
    if part == Part::KeysAndValues {
        return Ok(());
    }
    split.wait()?;
    split.product(Attended, None, &layer.o, Epilogue::Add, Hidden)?;
    split.wait()?;
    let norm = Some(&layer.post_attention_layernorm[..]);
    split.product(Hidden, norm, &layer.gate_up, Epilogue::SwiGlu, Inner)?;
    split.wait()?;
    split.product(Inner, None, &layer.down, Epilogue::Add, Hidden)?;
    split.wait()
}

//! What a pass finds: sizes, weights, angles and threads.

use crate::dims::Dims;
use crate::error::EngineError;
use crate::pool::Pool;
use crate::weights::Weights;
use akidb_kernels::{Isa, KeyValueType};

/// Everything that stays the same from one pass to the next.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) dims: Dims,
    pub(crate) weights: Weights,
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) key_value_type: KeyValueType,
}

impl Model {
    /// Whether tokens see nothing behind them.
    pub(crate) fn is_causal(&self) -> bool {
        let mut layers = self.weights.layers.iter();
        layers.all(|layer| layer.mask.is_causal())
    }

    /// Applies the norm behind the last layer to whole rows.
    pub(crate) fn final_norm(&self, rows: &mut [f32]) -> Result<(), EngineError> {
        match &self.weights.norm {
            Some(norm) => norm.apply(self.isa, rows),
            None => Ok(()),
        }
    }
}

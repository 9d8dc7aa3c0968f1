//! What a pass finds: sizes, weights, angles and threads.

use akidb_kernels::{Isa, KeyValueType};

use super::rotary::RotaryTable;
use crate::dims::Dims;
use crate::error::EngineError;
use crate::pool::Pool;
use crate::weights::Weights;

/// Everything that stays the same from one pass to the next.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) dims: Dims,
    pub(crate) weights: Weights,
    pub(crate) rotary: RotaryTable,
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) key_value_type: KeyValueType,
}

impl Model {
    /// Writes a token's row of the embedding table.
    pub(crate) fn embed(&self, id: u32, row: &mut [f32]) -> Result<(), EngineError> {
        Ok(self.weights.embed_tokens.read_row(id as usize, row)?)
    }
}

//! A norm, ready to be applied.

use akidb_kernels::{Isa, layer_norm, rms_norm};
use akidb_transformer::NormKind;

use super::vector;
use crate::error::EngineError;

/// A norm of rows.
#[derive(Debug)]
pub(crate) struct Norm {
    /// Whether rows are brought to a mean of 0.
    is_layer_norm: bool,
    /// What normalised rows are multiplied by.
    pub(crate) weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// A norm of rows of `len` values.
    pub(super) fn new(norm: &akidb_transformer::Norm, len: usize) -> Result<Self, EngineError> {
        let mut weight = vector(&norm.weight, len)?;
        if norm.kind == NormKind::RmsPlusOne {
            weight.iter_mut().for_each(|weight| *weight += 1.0);
        }
        let bias = norm.bias.as_ref().map(|bias| vector(bias, len));
        Ok(Self {
            is_layer_norm: norm.kind == NormKind::Layer,
            weight,
            bias: bias.transpose()?,
            epsilon: norm.epsilon,
        })
    }

    /// The norm, where there is one.
    pub(super) fn optional(
        norm: Option<&akidb_transformer::Norm>,
        len: usize,
    ) -> Result<Option<Self>, EngineError> {
        norm.map(|norm| Self::new(norm, len)).transpose()
    }

    /// Normalises whole rows in place.
    pub(crate) fn apply(&self, isa: Isa, rows: &mut [f32]) -> Result<(), EngineError> {
        let (weight, bias) = (&self.weight, self.bias.as_deref());
        match self.is_layer_norm {
            true => layer_norm(isa, rows, weight, bias, self.epsilon)?,
            false => rms_norm(isa, rows, weight, self.epsilon)?,
        }
        Ok(())
    }
}

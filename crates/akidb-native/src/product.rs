//! A packed weight of any precision, and the rows that are multiplied with it.

use std::ops::Range;

use akidb_kernels::{
    Accumulate, Isa, PackedF32, PackedInt8, PackedRows, QuantizedRows, ShapeError, gemm, gemm_int8,
};

use crate::error::EngineError;

/// A weight in the form that its kernel reads.
#[derive(Debug)]
pub(crate) enum Weight {
    F32(PackedF32),
    /// Multiplied with rows of 8 bits, one scale a row.
    Int8(PackedInt8),
}

impl Weight {
    /// Width of the input.
    pub(crate) fn k(&self) -> usize {
        match self {
            Self::F32(weight) => weight.k(),
            Self::Int8(weight) => weight.k(),
        }
    }

    /// Width of the output.
    pub(crate) fn n(&self) -> usize {
        match self {
            Self::F32(weight) => weight.n(),
            Self::Int8(weight) => weight.n(),
        }
    }

    pub(crate) fn panels(&self) -> usize {
        match self {
            Self::F32(weight) => weight.panels(),
            Self::Int8(weight) => weight.panels(),
        }
    }
}

/// Rows in the form that the weight's kernel reads. Memory is kept for the next ones.
#[derive(Debug)]
pub(crate) struct Rows {
    f32: PackedRows,
    int8: QuantizedRows,
}

impl Rows {
    pub(crate) fn new(isa: Isa) -> Self {
        Self {
            f32: PackedRows::new(isa),
            int8: QuantizedRows::new(isa),
        }
    }

    /// Takes `rows` rows for `weight`; `fill` is given an index and room for one.
    pub(crate) fn pack_with(
        &mut self,
        weight: &Weight,
        rows: usize,
        fill: impl FnMut(usize, &mut [f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        match weight {
            Weight::F32(weight) => self.f32.pack_with(rows, weight.k(), fill),
            Weight::Int8(weight) => self.int8.pack_with(rows, weight.k(), fill),
        }
    }

    /// Multiplies the rows, packed for `weight`, with some of its panels.
    pub(crate) fn multiply(
        &self,
        weight: &Weight,
        panels: Range<usize>,
        c: &mut [&mut [f32]],
        accumulate: Accumulate,
    ) -> Result<(), ShapeError> {
        match weight {
            Weight::F32(weight) => gemm(&self.f32, weight, panels, c, accumulate),
            Weight::Int8(weight) => gemm_int8(&self.int8, weight, panels, c, accumulate),
        }
    }
}

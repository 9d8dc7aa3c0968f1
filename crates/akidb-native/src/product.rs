//! A packed weight of any precision, and the rows that are multiplied with it.

use std::ops::Range;

use akidb_kernels::{
    Bf16Rows, BlockQuantizedRows, Epilogue, Isa, NBitsCodes, PackedBf16, PackedF32, PackedInt8,
    PackedNBits, PackedRows, QuantizedRows, gemm, gemm_bf16, gemm_int8, gemm_nbits,
};

use crate::error::EngineError;

/// A weight in the form that its kernel reads.
#[derive(Debug)]
pub(crate) enum Weight {
    F32(PackedF32),
    /// Multiplied with rows of bf16.
    Bf16(PackedBf16),
    /// One scale an output; multiplied with rows of 8 bits, one scale a row.
    Int8(PackedInt8),
    /// One scale a block; multiplied with rows of 8 bits, one scale a block.
    NBits(PackedNBits),
}

impl Weight {
    pub(crate) fn panels(&self) -> usize {
        match self {
            Self::F32(weight) => weight.panels(),
            Self::Bf16(weight) => weight.panels(),
            Self::Int8(weight) => weight.panels(),
            Self::NBits(weight) => weight.panels(),
        }
    }

    /// Arithmetic of its product.
    pub(crate) fn precision(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::Bf16(_) => "bf16",
            Self::Int8(_) => "int8",
            Self::NBits(weight) => precision(weight.format().codes),
        }
    }
}

/// Arithmetic of a product with such codes.
pub(crate) fn precision(codes: NBitsCodes) -> &'static str {
    match codes {
        NBitsCodes::Int8 => "int8",
        NBitsCodes::Int4 | NBitsCodes::Levels(_) => "int4",
    }
}

/// Rows in the form that the weight's kernel reads. Memory is kept for the next ones.
#[derive(Debug)]
pub(crate) struct Rows {
    f32: PackedRows,
    bf16: Bf16Rows,
    int8: QuantizedRows,
    nbits: BlockQuantizedRows,
}

impl Rows {
    pub(crate) fn new(isa: Isa) -> Self {
        Self {
            f32: PackedRows::new(isa),
            bf16: Bf16Rows::new(isa),
            int8: QuantizedRows::new(isa),
            nbits: BlockQuantizedRows::new(isa),
        }
    }

    /// Takes `rows` rows for `weight`; `source` is given an index and room for a row, and returns
    /// another slice where it doesn't use that.
    pub(crate) fn pack_from<'a>(
        &mut self,
        weight: &Weight,
        rows: usize,
        source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, EngineError>,
    ) -> Result<(), EngineError> {
        match weight {
            Weight::F32(weight) => self.f32.pack_from(rows, weight.k(), source),
            Weight::Bf16(weight) => self.bf16.pack_from(rows, weight.k(), source),
            Weight::Int8(weight) => self.int8.pack_from(rows, weight.k(), source),
            Weight::NBits(weight) => {
                let block_size = weight.format().block_size;
                self.nbits.pack_from(rows, weight.k(), block_size, source)
            }
        }
    }

    /// Takes the rows of all `parts`, packed for `weight`, one part after another.
    pub(crate) fn concat(&mut self, weight: &Weight, parts: &[&Self]) -> Result<(), EngineError> {
        fn each<'a, R>(parts: &[&'a Rows], rows: impl Fn(&'a Rows) -> &'a R) -> Vec<&'a R> {
            parts.iter().copied().map(rows).collect()
        }
        match weight {
            Weight::F32(_) => self.f32.concat(&each(parts, |rows| &rows.f32)),
            Weight::Bf16(_) => self.bf16.concat(&each(parts, |rows| &rows.bf16)),
            Weight::Int8(_) => self.int8.concat(&each(parts, |rows| &rows.int8)),
            Weight::NBits(_) => self.nbits.concat(&each(parts, |rows| &rows.nbits)),
        }
        .map_err(EngineError::from)
    }

    /// Number of rows, packed for `weight`.
    pub(crate) fn count(&self, weight: &Weight) -> usize {
        match weight {
            Weight::F32(_) => self.f32.rows(),
            Weight::Bf16(_) => self.bf16.rows(),
            Weight::Int8(_) => self.int8.rows(),
            Weight::NBits(_) => self.nbits.rows(),
        }
    }

    /// Multiplies the rows, packed for `weight`, with some of its panels.
    pub(crate) fn multiply(
        &self,
        weight: &Weight,
        panels: Range<usize>,
        c: &mut [&mut [f32]],
        epilogue: Epilogue,
    ) -> Result<(), EngineError> {
        match weight {
            Weight::F32(weight) => gemm(&self.f32, weight, panels, c, epilogue),
            Weight::Bf16(weight) => gemm_bf16(&self.bf16, weight, panels, c, epilogue),
            Weight::Int8(weight) => gemm_int8(&self.int8, weight, panels, c, epilogue),
            Weight::NBits(weight) => gemm_nbits(&self.nbits, weight, panels, c, epilogue),
        }
        .map_err(EngineError::from)
    }
}

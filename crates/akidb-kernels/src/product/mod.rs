//! Products of rows of activations with packed weights: a folder for each number format, and what
//! formats share.

mod bf16;
mod blocks;
mod f32;
mod gemm;
mod gemm_float;
mod int8;
mod nbits;
mod panels;
mod quantize_weights;
mod quantized;
mod row_blocks;
mod storage;
mod tile;
mod weight_type;

#[cfg(test)]
mod tests;

pub(crate) use blocks::Blocks;

pub use bf16::{Bf16Rows, PackedBf16};
pub use f32::{PackedF32, PackedRows};
pub use gemm::Epilogue;
pub use gemm_float::{gemm, gemm_bf16};
pub use int8::{Int8Type, PackedInt8, QuantizedRows, gemm_int8};
pub use nbits::{BlockQuantizedRows, NBitsCodes, NBitsFormat, PackedNBits, gemm_nbits};
pub use panels::NR;
pub use quantize_weights::{quantize_int4, quantize_int8};

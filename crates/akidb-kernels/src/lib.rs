//! SIMD arithmetic on slices: what a Qwen3 decoder needs, in f32, with bf16,
//! int8 and 4-bit weights.
//!
//! Every operation is written once in safe Rust over 16-lane arrays, which the compiler turns
//! into vector instructions, and compiled once per instruction-set tier ([`Isa`]). The inner loop of the
//! products uses each tier's intrinsics; they, and the calls into code compiled for a tier that
//! this CPU is known to have, are the only `unsafe`, all of it in `arch/`.
//!
//! **Same row, same bits.** On one tier, an output element depends on its own row alone: sums run
//! in one fixed order, whatever the number of rows, the range of panels, or the split of the work
//! among threads. Tiers may differ from each other in the last bits, save in
//! [`gemm_int8`], which is exact up to its last rounding.
//!
//! Operations check the lengths of their arguments once and return a [`ShapeError`]; they don't
//! panic. NaN and infinity are carried through, never hidden.

mod arch;
mod attention;
mod bf16;
mod bf16_rows;
mod block_quantized_rows;
mod blocks;
mod error;
mod exp;
mod gemm;
mod gemm_float;
mod gemm_int8;
mod gemm_nbits;
mod high_digits;
mod isa;
mod key_values;
mod lanes;
mod nbits_format;
mod outliers;
mod packed;
mod packed_bf16;
mod packed_f32;
mod packed_int8;
mod packed_nbits;
mod prefetch;
mod quantize_weights;
mod quantized_rows;
mod rms_norm;
mod rotary;
mod row_blocks;
mod rows;
mod storage;
mod swiglu;
mod tile;
mod tile_nbits;
mod weight_type;

#[cfg(test)]
mod gemm_tests;
#[cfg(test)]
mod testing;

pub use attention::{Attention, AttentionScratch, attention};
pub use bf16_rows::Bf16Rows;
pub use block_quantized_rows::BlockQuantizedRows;
pub use error::ShapeError;
pub use gemm::Epilogue;
pub use gemm_float::{gemm, gemm_bf16};
pub use gemm_int8::gemm_int8;
pub use gemm_nbits::gemm_nbits;
pub use isa::{Isa, IsaError, Tier};
pub use key_values::{KEY_TILE, KeyValueTile, KeyValueType};
pub use nbits_format::{NBitsCodes, NBitsFormat};
pub use packed::NR;
pub use packed_bf16::PackedBf16;
pub use packed_f32::PackedF32;
pub use packed_int8::{Int8Type, PackedInt8};
pub use packed_nbits::PackedNBits;
pub use prefetch::prefetch;
pub use quantize_weights::{quantize_int4, quantize_int8};
pub use quantized_rows::QuantizedRows;
pub use rms_norm::rms_norm;
pub use rotary::norm_rotary;
pub use rows::PackedRows;
pub use swiglu::swiglu;

//! SIMD arithmetic on slices: what a transformer needs, in f32, with bf16, int8 and 4-bit weights.
//!
//! Every operation is written once in safe Rust over 16-lane arrays, which the compiler turns
//! into vector instructions, and compiled once per instruction-set tier ([`Isa`]). The inner loop of the
//! products uses each tier's intrinsics; they, and the calls into code compiled for a tier that
//! this CPU is known to have, are the only `unsafe`, all of it in `arch/`.
//!
//! **Same row, same bits.** On one tier, an output element depends on its own row alone: sums run
//! in one fixed order, whatever the number of rows, the range of panels, or the split of the work
//! among threads. Tiers may differ from each other in the last bits, save in
//! products of [`PackedInt8`], which are exact up to their last rounding.
//!
//! Operations check the lengths of their arguments once and return a [`ShapeError`]; they don't
//! panic. NaN and infinity are carried through, never hidden.

mod activation;
mod arch;
mod attention;
mod bf16;
mod error;
mod exp;
mod gelu;
mod isa;
mod lanes;
mod layer_norm;
mod norm;
mod precision;
mod prefetch;
mod product;
mod rotary;

#[cfg(test)]
mod testing;

pub use activation::{Gate, glu};
pub use attention::{
    Attention, AttentionScratch, KEY_TILE, KeyValueTile, KeyValueType, Mask, STEP_TILES, attention,
};
pub use error::ShapeError;
pub use gelu::{gelu_erf, gelu_tanh};
pub use isa::{Isa, IsaError, Tier};
pub use layer_norm::layer_norm;
pub use norm::rms_norm;
pub use precision::{Precision, PrecisionError};
pub use prefetch::prefetch;
pub use product::{
    Epilogue, Int8Type, NBitsCodes, NBitsFormat, NR, PackedBf16, PackedF32, PackedInt8,
    PackedNBits, Rows, Weight, WeightFormat, quantize_int4, quantize_int8,
};
pub use rotary::{norm_rotary, rotary};

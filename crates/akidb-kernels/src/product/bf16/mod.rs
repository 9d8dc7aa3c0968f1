//! bf16, summed in f32.

mod rows;
mod weights;

pub use rows::Bf16Rows;
pub use weights::PackedBf16;

//! 4 or 8 bits with a scale for each block along K.

mod format;
mod gemm;
mod rows;
mod tile;
mod weights;

pub use format::{NBitsCodes, NBitsFormat};
pub use gemm::gemm_nbits;
pub use rows::BlockQuantizedRows;
pub use weights::PackedNBits;

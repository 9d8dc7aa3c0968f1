//! 8 bits with a scale for each row and each column.

mod gemm;
pub(super) mod rows;
pub(super) mod weights;

pub use gemm::gemm_int8;
pub use rows::QuantizedRows;
pub use weights::{Int8Type, PackedInt8};

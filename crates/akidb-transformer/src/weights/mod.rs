//! Weights, however a file stores them.

mod block_table;
mod codes;
mod dequantize_linear;
mod embedding_table;
mod linear;
mod matmul_bnb4;
mod matmul_integer;
mod matmul_nbits;
pub(crate) mod scales;

pub use dequantize_linear::{DequantizeLinear, DequantizeLinearAttributes, WeightOrder};
pub use embedding_table::EmbeddingTable;
pub use linear::{Linear, LinearWeight};
pub use matmul_bnb4::{Bnb4QuantType, MatMulBnb4, MatMulBnb4Attributes};
pub use matmul_integer::MatMulInteger;
pub use matmul_nbits::{MatMulNBits, MatMulNBitsAttributes};

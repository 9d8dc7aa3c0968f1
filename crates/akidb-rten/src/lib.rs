//! The backend for ONNX embedding models of any architecture, on the CPU, in pure Rust.
//!
//! The graph runs in [RTen](https://docs.rs/rten); [`RtenOptions`] says what the caller may state.
//! What the graph takes and gives, batches and pooling are `akidb-graph`'s. RTen computes in f32
//! whatever a file's float type is; `MatMulInteger` and `MatMulNBits` keep their quantized weights.
//! For the models that it runs too it is the independent check of the native engine.
//!
//! What a hostile model can do: files are checked by `akidb-onnx` before RTen sees them, a panic in
//! RTen is an error here, and what a run will hold in memory is found out before it begins. But an
//! ONNX graph is a program, and nothing bounds its time: a model from an unknown hand belongs in a
//! process with limits.
#![forbid(unsafe_code)]

mod bounds;
mod guard;
mod inputs;
mod load;
mod model;
mod options;
mod runner;
mod ties;

pub use akidb_graph::{GraphOptions, OutputChoice};
pub use model::RtenModel;
pub use options::RtenOptions;

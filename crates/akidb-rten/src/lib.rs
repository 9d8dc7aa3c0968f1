//! The backend for ONNX embedding models of any architecture, on the CPU, in pure Rust.
//!
//! The graph runs in [RTen](https://docs.rs/rten). This crate finds out what the graph takes and
//! gives ([`RtenOptions`] says what the caller may state), brings texts into batches, and pools.
//! RTen computes in f32 whatever a file's float type is; `MatMulInteger` and `MatMulNBits` keep
//! their quantized weights. For the models that it runs too it is the independent check of the
//! native engine.
//!
//! What a hostile model can do: files are checked by `akidb-onnx` before RTen sees them, and a
//! panic in RTen is an error here. But an ONNX graph is a program, and RTen bounds neither its
//! time nor its memory (a few bytes can ask for a tensor that fills the machine): a model from an
//! unknown hand belongs in a process with limits.
//!
//! Not every graph may run several texts at once. Loading tries it and says what was found in
//! [`BackendInfo::device`](akidb_backend::BackendInfo::device): graphs of a fixed batch size, and
//! those in which a text's vector changes with its neighbours (one activation scale for a whole
//! batch, as `DynamicQuantizeLinear` makes), run one text at a time.
#![forbid(unsafe_code)]

mod graph;
mod guard;
mod inputs;
mod model;
mod options;
mod output;
mod past;
mod plan;
mod pooling;
mod probe;
mod runner;
mod source;

pub use model::RtenModel;
pub use options::RtenOptions;

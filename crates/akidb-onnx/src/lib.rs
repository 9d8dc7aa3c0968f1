//! Reads, checks and recognises ONNX models (and the safetensors files of the same decoders).
//!
//! ```no_run
//! use akidb_onnx::decoder::{DecoderConfig, recognise};
//! use akidb_onnx::model::OnnxModel;
//! # fn main() -> Result<(), akidb_onnx::Error> {
//! let config = DecoderConfig::open("model/config.json".as_ref())?;
//! let model = OnnxModel::open("model/onnx/model_fp16.onnx".as_ref())?;
//! let decoder = recognise(&model, Some(&config))?;
//! println!("{} layers", decoder.layers.len());
//! # Ok(()) }
//! ```
//!
//! Files are not trusted: whatever their bytes are, the answer is a value or an [`Error`], memory
//! stays within [`budget::MAX_DECODED_BYTES`] (weights are mapped, not copied), and no file
//! outside the model's directory is read.
#![deny(unsafe_code)]

pub mod budget;
mod constant;
pub mod coreml;
pub mod decoder;
mod error;
mod external;
pub mod inspect;
mod mmap;
pub mod model;
pub mod proto;
mod regular_file;
pub mod run_memory;
mod stated;
pub mod tensor;
pub mod validate;

pub use error::{Disagreement, Error, ErrorKind};
pub use mmap::{MappedFiles, map_file, map_open_file, release_pages};
pub use regular_file::{open_regular_file, read_regular_file};

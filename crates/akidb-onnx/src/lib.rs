//! Reads, bounds and checks ONNX and safetensors files. What model they hold is `akidb-transformer`'s
//! to say.
//!
//! ```no_run
//! use akidb_onnx::model::OnnxModel;
//! # fn main() -> Result<(), akidb_onnx::Error> {
//! let model = OnnxModel::open("model/onnx/model_fp16.onnx".as_ref())?;
//! println!("{} nodes", model.nodes().len());
//! # Ok(()) }
//! ```
//!
//! Files are not trusted: whatever their bytes are, the answer is a value or an [`Error`], memory
//! stays within [`budget::MAX_DECODED_BYTES`] (weights are mapped, not copied), and no file
//! outside the model's directory is read.
#![deny(unsafe_code)]

pub mod budget;
mod constant;
mod error;
mod external;
mod external_tensors;
mod file_names;
mod json;
mod lfs;
mod mmap;
pub mod model;
pub mod proto;
mod regular_file;
pub mod run_memory;
pub mod safetensors;
pub mod stated;
pub mod tensor;
pub mod validate;

pub use constant::is_external;
pub use error::{Disagreement, Error, ErrorKind, shorten};
pub use external::{Location, Refusal, resolve_in};
pub use external_tensors::external_tensors_mut;
pub use file_names::COREML_MANIFEST;
pub use json::{parse_json, without_byte_order_mark};
pub use lfs::LfsPointer;
pub use mmap::{MappedFiles, map_file, map_open_file, read_small, release_pages};
pub use regular_file::{open_regular_file, read_regular_file};

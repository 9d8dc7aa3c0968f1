//! Which transformer a model file holds: read off an ONNX graph by its edges, or off the tensors of
//! a safetensors file by their names.
//!
//! ```no_run
//! use akidb_onnx::model::OnnxModel;
//! use akidb_transformer::{DecoderConfig, recognise};
//! # fn main() -> Result<(), akidb_onnx::Error> {
//! let config = DecoderConfig::open("model/config.json".as_ref())?;
//! let model = OnnxModel::open("model/onnx/model_fp16.onnx".as_ref())?;
//! let decoder = recognise(&model, Some(&config))?;
//! println!("{} blocks", decoder.blocks.len());
//! # Ok(()) }
//! ```
//!
//! As in `akidb-onnx`, files are not trusted: whatever they hold, the answer is a value or an error.
#![forbid(unsafe_code)]

mod config;
mod decoder;
mod families;
mod graph;
pub mod inspect;
mod rotary;
mod shapes;
mod transformer;
mod weights;

pub use config::DecoderConfig;
pub use decoder::{DecoderBlock, NotADecoder};
pub use families::{
    EncoderConfig, ModelConfig, RotaryConfig, decoder_from_safetensors, dense_from_safetensors,
    from_safetensors,
};
pub use graph::{from_onnx, recognise, scorer_from_onnx};
pub use rotary::{Rotary, RotaryScaling};
pub use transformer::{
    Activation, Attention, Block, BranchNorms, Dense, DenseActivation, Embeddings, Head, Mask, Mlp,
    Norm, NormKind, PositionTable, RelativeBias, ScoreLayer, Transformer,
};
pub use weights::{
    Bnb4QuantType, DequantizeLinear, DequantizeLinearAttributes, EmbeddingTable, Linear,
    LinearWeight, MatMulBnb4, MatMulBnb4Attributes, MatMulInteger, MatMulNBits,
    MatMulNBitsAttributes, WeightOrder,
};

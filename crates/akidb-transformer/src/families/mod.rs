//! From named tensors to a model: one file a family.

mod qwen3;

pub use qwen3::decoder_from_safetensors;

//! Reads, checks and recognises ONNX models (and the safetensors files of the same decoders).
#![deny(unsafe_code)]

pub mod decoder;
pub mod tensor;

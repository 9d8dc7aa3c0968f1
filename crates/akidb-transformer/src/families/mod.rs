//! From config.json and named tensors to a model: one file a family, and [`ModelConfig`], which knows
//! which one it is.

mod bert;
mod distilbert;
mod encoder;
mod mpnet;
mod qwen3;

use std::path::Path;

use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::{Error, ErrorKind, parse_json, read_small};
use serde::Deserialize;

use crate::config::{DecoderConfig, MAX_CONFIG_BYTES};
use crate::transformer::Transformer;

pub use encoder::EncoderConfig;
pub(crate) use encoder::MAX_DISTANCE;
pub use qwen3::decoder_from_safetensors;

/// What a `config.json` says of a model of a known family.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum ModelConfig {
    /// Qwen3.
    Decoder(DecoderConfig),
    /// BERT and its descendants.
    Encoder(EncoderConfig),
}

#[derive(Deserialize)]
struct Family {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_json`], and when the file can't be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let json = read_small(path, MAX_CONFIG_BYTES)?;
        Self::from_json(&json).map_err(|e| e.at(path))
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// When it is no JSON, lacks a value or has an impossible one, or asks for something that isn't
    /// done: another family, another activation, scores in place of vectors.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let family: Family = parse_json(json).map_err(ErrorKind::Json)?;
        let model_type = family.model_type.as_deref().unwrap_or_default();
        let encoder = match model_type {
            bert::BERT => bert::config(json),
            other if bert::ROBERTA.contains(&other) => bert::config(json),
            distilbert::MODEL_TYPE => distilbert::config(json),
            mpnet::MODEL_TYPE => mpnet::config(json),
            _ => return DecoderConfig::from_json(json).map(Self::Decoder),
        };
        let mut architectures = family.architectures.iter().flatten();
        match architectures.find(|name| name.ends_with("ForSequenceClassification")) {
            Some(name) => Err(encoder::unsupported("architectures", name)),
            None => encoder.map(Self::Encoder),
        }
    }
}

/// Reads a model from a safetensors file, from `model.safetensors.index.json` and the files that it
/// names, or from a directory that holds either. Weights stay in the mapped files.
///
/// How states are pooled is in other files than these: [`Transformer::head`] is what the family does
/// as a rule.
///
/// # Errors
/// When a file can't be read or is broken, lies outside the directory, a tensor is missing, isn't
/// f32, f16 or bf16, or has another shape than `config` asks for.
pub fn from_safetensors(path: &Path, config: &ModelConfig) -> Result<Transformer, Error> {
    match config {
        ModelConfig::Decoder(config) => decoder_from_safetensors(path, config),
        ModelConfig::Encoder(config) => {
            let tensors = SafetensorsModel::open(path)?;
            encoder::read(&tensors, config).map_err(|e| e.at(path))
        }
    }
}

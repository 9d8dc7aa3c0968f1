//! From config.json and named tensors to a model: one file a family, and [`ModelConfig`], which knows
//! which one it is.

mod bert;
mod checks;
mod dense;
mod distilbert;
mod encoder;
mod gemma3;
mod gte;
mod llama;
mod modernbert;
mod mpnet;
mod nomic;
mod qwen3;
mod rope;
mod rotary;

use std::path::Path;

use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::{Disagreement, Error, ErrorKind, parse_json, read_small};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{DecoderConfig, MAX_CONFIG_BYTES};
use crate::rotary::Rotary;
use crate::transformer::Transformer;

pub use dense::dense_from_safetensors;
pub use encoder::EncoderConfig;
pub(crate) use encoder::MAX_DISTANCE;
pub use qwen3::decoder_from_safetensors;
pub use rotary::RotaryConfig;

/// What a `config.json` says of a model of a known family.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum ModelConfig {
    /// Qwen3.
    Decoder(DecoderConfig),
    /// BERT and its descendants with learned positions.
    Encoder(EncoderConfig),
    /// Other transformers that turn their heads.
    Rotary(RotaryConfig),
}

#[derive(Deserialize)]
struct Family {
    model_type: Option<String>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
}

impl Family {
    /// Whether rotary frequencies are other than the plain ones.
    fn scales(&self) -> bool {
        let ropes = [&self.rope_scaling, &self.rope_parameters]
            .into_iter()
            .flatten();
        let mut kinds =
            ropes.filter_map(|rope| rope.get("rope_type").or(rope.get("type"))?.as_str());
        kinds.any(|kind| kind != "default")
    }
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
    /// done: another family, another activation. What heads the model is not looked at.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let family: Family = parse_json(json).map_err(ErrorKind::Json)?;
        let model_type = family.model_type.as_deref().unwrap_or_default();
        let both_ways = llama::sees_both_ways(family.is_causal, family.use_bidirectional_attention);
        match model_type {
            bert::BERT => bert::config(json).map(Self::Encoder),
            other if bert::ROBERTA.contains(&other) => bert::config(json).map(Self::Encoder),
            distilbert::MODEL_TYPE => distilbert::config(json).map(Self::Encoder),
            mpnet::MODEL_TYPE => mpnet::config(json).map(Self::Encoder),
            nomic::MODEL_TYPE => nomic::config(json).map(Self::Rotary),
            other if gte::MODEL_TYPES.contains(&other) => gte::config(json).map(Self::Rotary),
            modernbert::MODEL_TYPE => modernbert::config(json).map(Self::Rotary),
            gemma3::MODEL_TYPE => gemma3::config(json).map(Self::Rotary),
            other if llama::MODEL_TYPES.contains(&other) => llama::config(json).map(Self::Rotary),
            qwen3::MODEL_TYPE if both_ways || family.scales() => {
                llama::config(json).map(Self::Rotary)
            }
            _ => DecoderConfig::from_json(json).map(Self::Decoder),
        }
    }

    /// Whether `model_type` of a config.json names a family that is read here.
    pub fn knows(model_type: &str) -> bool {
        const ONE: [&str; 7] = [
            bert::BERT,
            distilbert::MODEL_TYPE,
            mpnet::MODEL_TYPE,
            nomic::MODEL_TYPE,
            modernbert::MODEL_TYPE,
            gemma3::MODEL_TYPE,
            qwen3::MODEL_TYPE,
        ];
        let several = [
            &bert::ROBERTA[..],
            &gte::MODEL_TYPES[..],
            &llama::MODEL_TYPES[..],
        ];
        ONE.contains(&model_type) || several.concat().contains(&model_type)
    }

    /// Longest text in tokens.
    pub(crate) fn max_tokens(&self) -> usize {
        match self {
            Self::Encoder(config) => config.max_tokens(),
            Self::Rotary(config) => config.max_tokens(),
            Self::Decoder(config) => config.max_position_embeddings,
        }
    }

    /// How the heads of a layer are turned, where they are.
    pub(crate) fn rotary(&self, layer: usize) -> Option<Rotary> {
        match self {
            Self::Encoder(_) => None,
            Self::Rotary(config) => config.layers.get(layer).map(|(_, rotary)| *rotary),
            Self::Decoder(config) => Some(rotary::plain(config.rope_theta, config.head_dim)),
        }
    }

    /// Where a model read off a graph by its values is of other sizes.
    pub(crate) fn disagreements(&self, model: &Transformer) -> Vec<Disagreement> {
        match self {
            Self::Encoder(config) => config.disagreements(model),
            Self::Rotary(config) => config.disagreements(model),
            Self::Decoder(config) => config.disagreements(&model.decoder_config()),
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
        ModelConfig::Rotary(config) => {
            let tensors = SafetensorsModel::open(path)?;
            rotary::read(&tensors, config).map_err(|e| e.at(path))
        }
    }
}

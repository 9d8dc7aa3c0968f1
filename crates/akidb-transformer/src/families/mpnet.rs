//! MPNet: RoBERTa's embeddings without token types, and scores that depend on distances.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{activation, need};
use super::encoder::{EncoderConfig, Names};

pub(super) const MODEL_TYPE: &str = "mpnet";

/// Token that isn't counted among the positions, whatever config.json says.
const PADDING: u32 = 1;

const NAMES: Names = Names {
    prefixes: &["", "mpnet."],
    layers: "encoder.layer.",
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
    relative_bias: Some("encoder.relative_attention_bias.weight"),
};

#[derive(Deserialize)]
struct ConfigJson {
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
}

pub(super) fn config(json: &[u8]) -> Result<EncoderConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    EncoderConfig {
        names: &NAMES,
        hidden_size: need("hidden_size", json.hidden_size)?,
        num_hidden_layers: need("num_hidden_layers", json.num_hidden_layers)?,
        num_attention_heads: need("num_attention_heads", json.num_attention_heads)?,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        layer_norm_eps: json.layer_norm_eps.unwrap_or(1e-12) as f32,
        activation: activation("hidden_act", json.hidden_act.as_deref())?,
        padding: Some(PADDING),
    }
    .check()
}

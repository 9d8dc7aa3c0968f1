//! BERT, and RoBERTa in all its languages, which counts positions from behind the padding token.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{activation, need, unsupported};
use super::encoder::{EncoderConfig, Names};

/// The `model_type`s of this family; those that count positions as RoBERTa does.
pub(super) const BERT: &str = "bert";
pub(super) const ROBERTA: [&str; 3] = ["roberta", "xlm-roberta", "camembert"];

const NAMES: Names = Names {
    prefixes: &["", "bert.", "roberta."],
    layers: "encoder.layer.",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
    relative_bias: None,
};

#[derive(Deserialize)]
struct ConfigJson {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    pad_token_id: Option<u32>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
}

pub(super) fn config(json: &[u8]) -> Result<EncoderConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    let positions = json.position_embedding_type.as_deref();
    if let Some(other) = positions.filter(|kind| *kind != "absolute") {
        return Err(unsupported("position_embedding_type", other));
    }
    if json.is_decoder == Some(true) {
        return Err(unsupported("is_decoder", "true"));
    }
    let counts_behind_padding = json.model_type.as_deref() != Some(BERT);
    // What transformers takes where the file doesn't say.
    let padding = counts_behind_padding.then(|| json.pad_token_id.unwrap_or(1));
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
        padding,
    }
    .check()
}

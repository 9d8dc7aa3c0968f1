//! DistilBERT: BERT without token types, in its own words.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{activation, need, unsupported};
use super::encoder::{EncoderConfig, Names};

pub(super) const MODEL_TYPE: &str = "distilbert";

/// Of all its norms; config.json has no key for it.
const EPSILON: f32 = 1e-12;

const NAMES: Names = Names {
    prefixes: &["", "distilbert."],
    layers: "transformer.layer.",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    mlp_norm: "output_layer_norm",
    relative_bias: None,
};

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(alias = "hidden_size")]
    dim: Option<usize>,
    #[serde(alias = "num_hidden_layers")]
    n_layers: Option<usize>,
    #[serde(alias = "num_attention_heads")]
    n_heads: Option<usize>,
    hidden_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    activation: Option<String>,
    sinusoidal_pos_embds: Option<bool>,
}

pub(super) fn config(json: &[u8]) -> Result<EncoderConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    if json.sinusoidal_pos_embds == Some(true) {
        return Err(unsupported("sinusoidal_pos_embds", "true"));
    }
    EncoderConfig {
        names: &NAMES,
        hidden_size: need("dim", json.dim)?,
        num_hidden_layers: need("n_layers", json.n_layers)?,
        num_attention_heads: need("n_heads", json.n_heads)?,
        intermediate_size: need("hidden_dim", json.hidden_dim)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        layer_norm_eps: EPSILON,
        activation: activation("activation", json.activation.as_deref())?,
        padding: None,
    }
    .check()
}

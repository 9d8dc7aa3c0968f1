//! GTE of 2024 ("new", and as it is called elsewhere "gte"): BERT whose heads are turned and whose MLP
//! has a gate, with biases on all layers but the gate's.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{activation, need, unsupported};
use super::rope::RopeParameters;
use super::rotary::{Biases, GateUp, Names, NormNames, QueryKeyValue, RotaryConfig, alike};
use crate::transformer::{Head, Mask, NormKind};

pub(super) const MODEL_TYPES: [&str; 2] = ["new", "gte"];

const PACKED: Names = Names {
    prefixes: &["", "new.", "gte."],
    words: "embeddings.word_embeddings",
    token_types: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "encoder.layer.",
    query_key_value: QueryKeyValue::Together("attention.qkv_proj"),
    output: "attention.o_proj",
    head_norms: None,
    attention_norms: NormNames::of_sum("attn_ln"),
    gate_up: GateUp::GateSecond("mlp.up_gate_proj"),
    down: "mlp.down_proj",
    mlp_norms: NormNames::of_sum("mlp_ln"),
    final_norm: None,
    first_has_no_norm_before: false,
};

const APART: Names = Names {
    query_key_value: QueryKeyValue::Apart([
        "attention.q_proj",
        "attention.k_proj",
        "attention.v_proj",
    ]),
    ..PACKED
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
    layer_norm_type: Option<String>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    pack_qkv: Option<bool>,
    logn_attention_scale: Option<bool>,
}

pub(super) fn config(json: &[u8]) -> Result<RotaryConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    let positions = json.position_embedding_type.as_deref().unwrap_or("rope");
    if positions != "rope" {
        return Err(unsupported("position_embedding_type", positions));
    }
    let norm = json.layer_norm_type.as_deref().unwrap_or("layer_norm");
    if norm != "layer_norm" {
        return Err(unsupported("layer_norm_type", norm));
    }
    if json.logn_attention_scale == Some(true) {
        return Err(unsupported("logn_attention_scale", "true"));
    }
    let hidden_size = need("hidden_size", json.hidden_size)?;
    let heads = need("num_attention_heads", json.num_attention_heads)?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or_default();
    let base = json.rope_theta.unwrap_or(10_000.0);
    let scaling = json.rope_scaling.unwrap_or_default();
    let rotary = scaling.rotary("rope_scaling", base, head_dim)?;
    let layers = need("num_hidden_layers", json.num_hidden_layers)?;
    RotaryConfig {
        names: match json.pack_qkv {
            Some(false) => &APART,
            _ => &PACKED,
        },
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        epsilon: json.layer_norm_eps.unwrap_or(1e-12) as f32,
        norm: NormKind::Layer,
        activation: activation("hidden_act", json.hidden_act.as_deref())?,
        embedding_scale: None,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        biases: Biases {
            query_key_value: true,
            output: true,
            gate_up: false,
            down: true,
            norm: true,
        },
        layers: alike(layers, Mask::Full, rotary)?,
        head: Head::FirstToken,
    }
    .check()
}

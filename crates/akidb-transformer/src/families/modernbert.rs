//! ModernBERT: norms before its branches, a gate, and layers that see a window or the whole text in
//! turn, each kind with its own rotary base.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{activation, need, unsupported};
use super::rope::{LayerRopes, kinds_of_layers, of_kinds};
use super::rotary::{Biases, GateUp, Names, NormNames, QueryKeyValue, RotaryConfig, check_layers};
use crate::transformer::{Head, Mask, NormKind};

pub(super) const MODEL_TYPE: &str = "modernbert";

const NAMES: Names = Names {
    prefixes: &["", "model."],
    words: "embeddings.tok_embeddings",
    token_types: None,
    embedding_norm: Some("embeddings.norm"),
    layers: "layers.",
    query_key_value: QueryKeyValue::Together("attn.Wqkv"),
    output: "attn.Wo",
    head_norms: None,
    attention_norms: NormNames::before("attn_norm"),
    gate_up: GateUp::GateFirst("mlp.Wi"),
    down: "mlp.Wo",
    mlp_norms: NormNames::before("mlp_norm"),
    final_norm: Some("final_norm"),
    first_has_no_norm_before: true,
};

#[derive(Deserialize)]
struct ConfigJson {
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    norm_eps: Option<f64>,
    norm_bias: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_activation: Option<String>,
    local_attention: Option<usize>,
    global_attn_every_n_layers: Option<usize>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<LayerRopes>,
}

pub(super) fn config(json: &[u8]) -> Result<RotaryConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    if json.mlp_bias == Some(true) {
        return Err(unsupported("mlp_bias", "true"));
    }
    let hidden_size = need("hidden_size", json.hidden_size)?;
    let heads = need("num_attention_heads", json.num_attention_heads)?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or_default();
    let near = need("local_attention", json.local_attention)? / 2;
    let count = check_layers(need("num_hidden_layers", json.num_hidden_layers)?)?;
    let every = json.global_attn_every_n_layers.unwrap_or(3).max(1);
    let is_full = |layer: usize| layer.is_multiple_of(every);
    let ropes = json.rope_parameters.unwrap_or_default();
    let global = json.global_rope_theta.unwrap_or(160_000.0);
    let global = ropes
        .full_attention
        .rotary("rope_parameters", global, head_dim)?;
    let local = json.local_rope_theta.unwrap_or(10_000.0);
    let local = ropes
        .sliding_attention
        .rotary("rope_parameters", local, head_dim)?;
    let window = Mask::Window {
        before: near,
        after: near,
    };
    let kinds = kinds_of_layers(json.layer_types.as_deref(), count, is_full)?;
    RotaryConfig {
        names: &NAMES,
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        epsilon: json.norm_eps.unwrap_or(1e-5) as f32,
        norm: NormKind::Layer,
        activation: activation("hidden_activation", json.hidden_activation.as_deref())?,
        embedding_scale: None,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        biases: Biases {
            query_key_value: json.attention_bias.unwrap_or(false),
            output: json.attention_bias.unwrap_or(false),
            norm: json.norm_bias.unwrap_or(false),
            ..Biases::default()
        },
        layers: of_kinds(&kinds, (Mask::Full, global), (window, local)),
        head: Head::Mean,
    }
    .check()
}

//! Llama and those that spell themselves as it does: Mistral, Qwen2, and Qwen3 where it sees both ways.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{need, unsupported};
use super::qwen3;
use super::rope::{RopeParameters, kinds_of_layers};
use super::rotary::{Biases, GateUp, Names, NormNames, QueryKeyValue, RotaryConfig, check_layers};
use crate::transformer::{Activation, Head, Mask, NormKind};

pub(super) const MODEL_TYPES: [&str; 3] = ["llama", "mistral", "qwen2"];

pub(super) const LLAMA: Names = Names {
    prefixes: &["", "model."],
    words: "embed_tokens",
    token_types: None,
    embedding_norm: None,
    layers: "layers.",
    query_key_value: QueryKeyValue::Apart([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    ]),
    output: "self_attn.o_proj",
    head_norms: None,
    attention_norms: NormNames::before("input_layernorm"),
    gate_up: GateUp::Apart {
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
    },
    down: "mlp.down_proj",
    mlp_norms: NormNames::before("post_attention_layernorm"),
    final_norm: Some("norm"),
    first_has_no_norm_before: false,
};

const QWEN3: Names = Names {
    head_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
    ..LLAMA
};

#[derive(Deserialize)]
struct ConfigJson {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
}

/// Whether a config.json of this kind is that of a model whose tokens see what is behind them.
pub(super) fn sees_both_ways(is_causal: Option<bool>, bidirectional: Option<bool>) -> bool {
    is_causal == Some(false) || bidirectional == Some(true)
}

pub(super) fn config(json: &[u8]) -> Result<RotaryConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    let model_type = json.model_type.as_deref().unwrap_or_default();
    if let Some(other) = json.hidden_act.as_deref().filter(|act| *act != "silu") {
        return Err(unsupported("hidden_act", other));
    }
    if json.mlp_bias == Some(true) {
        return Err(unsupported("mlp_bias", "true"));
    }
    let hidden_size = need("hidden_size", json.hidden_size)?;
    let heads = need("num_attention_heads", json.num_attention_heads)?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or_default();
    let head_dim = json.head_dim.unwrap_or(head_dim);
    let both_ways = sees_both_ways(json.is_causal, json.use_bidirectional_attention);
    // Mistral's holds for all layers, Qwen's only where it is turned on.
    let window = json.sliding_window.filter(|_| match model_type {
        "mistral" => true,
        _ => json.use_sliding_window == Some(true),
    });
    let count = check_layers(need("num_hidden_layers", json.num_hidden_layers)?)?;
    let kinds = kinds_of_layers(json.layer_types.as_deref(), count, |_| window.is_none())?;
    let mask = |is_full: bool| match (is_full, both_ways, window) {
        (true, true, _) => Ok(Mask::Full),
        (true, false, _) => Ok(Mask::Causal),
        // Its own token among them.
        (false, false, Some(window)) if model_type == "mistral" => Ok(Mask::Window {
            before: window.saturating_sub(1),
            after: 0,
        }),
        _ => Err(unsupported("use_sliding_window", "true")),
    };
    let (key, rope) = match (json.rope_parameters, json.rope_scaling) {
        (Some(rope), _) => ("rope_parameters", rope),
        (None, rope) => ("rope_scaling", rope.unwrap_or_default()),
    };
    let rotary = rope.rotary(key, json.rope_theta.unwrap_or(10_000.0), head_dim)?;
    let is_qwen2 = model_type == "qwen2";
    let has_bias = json.attention_bias.unwrap_or(false);
    let layers = kinds
        .into_iter()
        .map(|is_full| Ok((mask(is_full)?, rotary)));
    RotaryConfig {
        names: match model_type {
            qwen3::MODEL_TYPE => &QWEN3,
            _ => &LLAMA,
        },
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: json.num_key_value_heads.unwrap_or(heads),
        head_dim,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        epsilon: need("rms_norm_eps", json.rms_norm_eps)? as f32,
        norm: NormKind::Rms,
        activation: Activation::Silu,
        embedding_scale: None,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        biases: Biases {
            query_key_value: is_qwen2 || has_bias,
            output: !is_qwen2 && has_bias,
            ..Biases::default()
        },
        layers: layers.collect::<Result<_, Error>>()?,
        head: match both_ways {
            true => Head::Mean,
            false => Head::LastToken,
        },
    }
    .check()
}

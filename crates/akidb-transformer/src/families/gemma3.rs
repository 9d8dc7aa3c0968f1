//! Gemma 3, causal or seeing both ways: RMSNorm on both sides of each branch, norms of heads, a window
//! in most layers, each kind with its own rotary base.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;
use serde_json::Value;

use super::checks::{need, unsupported};
use super::llama::LLAMA;
use super::rope::{LayerRopes, RopeParameters, kinds_of_layers, of_kinds};
use super::rotary::{Biases, Names, NormNames, RotaryConfig, check_layers};
use crate::transformer::{Activation, Head, Mask, NormKind};

pub(super) const MODEL_TYPE: &str = "gemma3_text";

const NAMES: Names = Names {
    head_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
    attention_norms: NormNames {
        before: Some("input_layernorm"),
        after: Some("post_attention_layernorm"),
        of_sum: None,
    },
    mlp_norms: NormNames {
        before: Some("pre_feedforward_layernorm"),
        after: Some("post_feedforward_layernorm"),
        of_sum: None,
    },
    ..LLAMA
};

#[derive(Deserialize)]
struct ConfigJson {
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<f64>,
    attention_bias: Option<bool>,
    attn_logit_softcapping: Option<Value>,
    use_bidirectional_attention: Option<bool>,
    sliding_window: Option<usize>,
    #[serde(alias = "_sliding_window_pattern")]
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<LayerRopes>,
}

pub(super) fn config(json: &[u8]) -> Result<RotaryConfig, Error> {
    let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
    if let Some(cap) = json.attn_logit_softcapping.filter(|cap| !cap.is_null()) {
        return Err(unsupported("attn_logit_softcapping", &cap.to_string()));
    }
    let act = json.hidden_activation.as_deref();
    if let Some(other) = act.filter(|act| *act != "gelu_pytorch_tanh") {
        return Err(unsupported("hidden_activation", other));
    }
    let hidden_size = need("hidden_size", json.hidden_size)?;
    let heads = need("num_attention_heads", json.num_attention_heads)?;
    let head_dim = json.head_dim.unwrap_or(256);
    let count = check_layers(need("num_hidden_layers", json.num_hidden_layers)?)?;
    let every = json.sliding_window_pattern.unwrap_or(6).max(1);
    let is_full = |layer: usize| (layer + 1).is_multiple_of(every);
    let kinds = kinds_of_layers(json.layer_types.as_deref(), count, is_full)?;
    let window = json.sliding_window.unwrap_or(4096);
    let (full, near) = match json.use_bidirectional_attention {
        // Half of it on either side.
        Some(true) => (
            Mask::Full,
            Mask::Window {
                before: window / 2,
                after: window / 2,
            },
        ),
        // Its own token among them.
        _ => (
            Mask::Causal,
            Mask::Window {
                before: window.saturating_sub(1),
                after: 0,
            },
        ),
    };
    let ropes = json.rope_parameters.unwrap_or(LayerRopes {
        full_attention: json.rope_scaling.unwrap_or_default(),
        sliding_attention: RopeParameters::default(),
    });
    let global = json.rope_theta.unwrap_or(1e6);
    let global = ropes
        .full_attention
        .rotary("rope_scaling", global, head_dim)?;
    let local = json.rope_local_base_freq.unwrap_or(10_000.0);
    let local = ropes
        .sliding_attention
        .rotary("rope_parameters", local, head_dim)?;
    let has_bias = json.attention_bias.unwrap_or(false);
    RotaryConfig {
        names: &NAMES,
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: need("num_key_value_heads", json.num_key_value_heads)?,
        head_dim,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        epsilon: json.rms_norm_eps.unwrap_or(1e-6) as f32,
        norm: NormKind::RmsPlusOne,
        activation: Activation::GeluTanh,
        embedding_scale: Some((hidden_size as f64).sqrt() as f32),
        attention_scale: (1.0 / json.query_pre_attn_scalar.unwrap_or(256.0).sqrt()) as f32,
        biases: Biases {
            query_key_value: has_bias,
            output: has_bias,
            ..Biases::default()
        },
        layers: of_kinds(&kinds, (full, global), (near, local)),
        head: Head::Mean,
    }
    .check()
}

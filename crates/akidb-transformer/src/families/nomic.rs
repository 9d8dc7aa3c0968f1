//! NomicBERT: BERT without positions, whose heads are turned, and whose MLP has a gate. In the words
//! of its authors' code, which are those of GPT-2, and in those of transformers.

use akidb_onnx::{Error, ErrorKind, parse_json};
use serde::Deserialize;

use super::checks::{need, unsupported};
use super::rope::RopeParameters;
use super::rotary::{Biases, GateUp, Names, NormNames, QueryKeyValue, RotaryConfig, alike, plain};
use crate::transformer::{Activation, Head, Mask, NormKind};

pub(super) const MODEL_TYPE: &str = "nomic_bert";

const AUTHORS: Names = Names {
    prefixes: &["", "bert."],
    words: "embeddings.word_embeddings",
    token_types: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("emb_ln"),
    layers: "encoder.layers.",
    query_key_value: QueryKeyValue::Together("attn.Wqkv"),
    output: "attn.out_proj",
    head_norms: None,
    attention_norms: NormNames::of_sum("norm1"),
    gate_up: GateUp::Apart {
        gate: "mlp.fc12",
        up: "mlp.fc11",
    },
    down: "mlp.fc2",
    mlp_norms: NormNames::of_sum("norm2"),
    final_norm: None,
    first_has_no_norm_before: false,
};

const TRANSFORMERS: Names = Names {
    prefixes: &["", "nomic_bert.", "model."],
    embedding_norm: Some("embeddings.LayerNorm"),
    layers: "layers.",
    query_key_value: QueryKeyValue::Apart([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    ]),
    output: "self_attn.o_proj",
    attention_norms: NormNames::of_sum("post_attention_layernorm"),
    gate_up: GateUp::Apart {
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
    },
    down: "mlp.down_proj",
    mlp_norms: NormNames::of_sum("post_mlp_layernorm"),
    ..AUTHORS
};

#[derive(Deserialize)]
struct AuthorsJson {
    n_embd: Option<usize>,
    n_head: Option<usize>,
    n_inner: Option<usize>,
    n_layer: Option<usize>,
    n_positions: Option<usize>,
    vocab_size: Option<usize>,
    layer_norm_epsilon: Option<f64>,
    activation_function: Option<String>,
    rotary_emb_base: Option<f64>,
    rotary_emb_fraction: Option<f64>,
    rotary_emb_interleaved: Option<bool>,
    rotary_emb_scale_base: Option<f64>,
    rotary_scaling_factor: Option<f64>,
    qkv_proj_bias: Option<bool>,
    mlp_fc1_bias: Option<bool>,
    mlp_fc2_bias: Option<bool>,
    causal: Option<bool>,
    prenorm: Option<bool>,
    parallel_block: Option<bool>,
    use_rms_norm: Option<bool>,
    num_experts: Option<usize>,
}

#[derive(Deserialize)]
struct TransformersJson {
    hidden_size: Option<usize>,
    num_attention_heads: Option<usize>,
    num_hidden_layers: Option<usize>,
    intermediate_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    head_dim: Option<usize>,
    rope_parameters: Option<RopeParameters>,
}

pub(super) fn config(json: &[u8]) -> Result<RotaryConfig, Error> {
    let authors: AuthorsJson = parse_json(json).map_err(ErrorKind::Json)?;
    match authors.n_embd {
        Some(_) => of_authors(authors),
        None => of_transformers(parse_json(json).map_err(ErrorKind::Json)?),
    }
}

fn of_authors(json: AuthorsJson) -> Result<RotaryConfig, Error> {
    for (key, value) in [
        ("causal", json.causal),
        ("prenorm", json.prenorm),
        ("parallel_block", json.parallel_block),
        ("use_rms_norm", json.use_rms_norm),
        ("rotary_emb_interleaved", json.rotary_emb_interleaved),
    ] {
        if value == Some(true) {
            return Err(unsupported(key, "true"));
        }
    }
    for (key, value, plain) in [
        ("rotary_emb_fraction", json.rotary_emb_fraction, Some(1.0)),
        ("rotary_emb_scale_base", json.rotary_emb_scale_base, None),
        ("rotary_scaling_factor", json.rotary_scaling_factor, None),
    ] {
        if let Some(other) = value.filter(|_| value != plain) {
            return Err(unsupported(key, &other.to_string()));
        }
    }
    if let Some(experts) = json.num_experts.filter(|experts| *experts > 0) {
        return Err(unsupported("num_experts", &experts.to_string()));
    }
    let activation = match json.activation_function.as_deref() {
        Some("swiglu") => Activation::Silu,
        Some("geglu") => Activation::GeluErf,
        other => return Err(unsupported("activation_function", other.unwrap_or("null"))),
    };
    let hidden_size = need("n_embd", json.n_embd)?;
    let heads = need("n_head", json.n_head)?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or_default();
    let rotary = plain(json.rotary_emb_base.unwrap_or(10_000.0), head_dim);
    let has_bias = |key: Option<bool>| key.unwrap_or(true);
    RotaryConfig {
        names: &AUTHORS,
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        intermediate_size: need("n_inner", json.n_inner)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("n_positions", json.n_positions)?,
        epsilon: json.layer_norm_epsilon.unwrap_or(1e-12) as f32,
        norm: NormKind::Layer,
        activation,
        embedding_scale: None,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        biases: Biases {
            query_key_value: has_bias(json.qkv_proj_bias),
            output: has_bias(json.qkv_proj_bias),
            gate_up: has_bias(json.mlp_fc1_bias),
            down: has_bias(json.mlp_fc2_bias),
            norm: true,
        },
        layers: alike(need("n_layer", json.n_layer)?, Mask::Full, rotary)?,
        head: Head::Mean,
    }
    .check()
}

fn of_transformers(json: TransformersJson) -> Result<RotaryConfig, Error> {
    if let Some(other) = json.hidden_act.as_deref().filter(|act| *act != "silu") {
        return Err(unsupported("hidden_act", other));
    }
    let hidden_size = need("hidden_size", json.hidden_size)?;
    let heads = need("num_attention_heads", json.num_attention_heads)?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or_default();
    let head_dim = json.head_dim.unwrap_or(head_dim);
    let rope = json.rope_parameters.unwrap_or_default();
    let layers = need("num_hidden_layers", json.num_hidden_layers)?;
    let rotary = rope.rotary("rope_parameters", 1000.0, head_dim)?;
    RotaryConfig {
        names: &TRANSFORMERS,
        hidden_size,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        intermediate_size: need("intermediate_size", json.intermediate_size)?,
        vocab_size: need("vocab_size", json.vocab_size)?,
        max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        epsilon: json.layer_norm_eps.unwrap_or(1e-12) as f32,
        norm: NormKind::Layer,
        activation: Activation::Silu,
        embedding_scale: None,
        attention_scale: 1.0 / (head_dim as f32).sqrt(),
        biases: Biases {
            norm: true,
            ..Biases::default()
        },
        layers: alike(layers, Mask::Full, rotary)?,
        head: Head::Mean,
    }
    .check()
}

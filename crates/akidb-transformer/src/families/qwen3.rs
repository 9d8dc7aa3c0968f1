//! Qwen3, from the safetensors files of its PyTorch model.

use std::path::Path;

use akidb_onnx::Error;
use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::tensor::Tensor;

use crate::config::DecoderConfig;
use crate::rotary::{Rotary, RotaryScaling};
use crate::shapes;
use crate::transformer::{
    Activation, Attention, Block, BranchNorms, Embeddings, Head, Mask, Mlp, Norm, NormKind,
    Transformer,
};
use crate::weights::{EmbeddingTable, Linear, LinearWeight};

pub(super) use crate::config::MODEL_TYPE;

/// Reads a decoder from a safetensors file, from `model.safetensors.index.json` and the files that it
/// names, or from a directory that holds either. Weights stay in the mapped files.
///
/// Tensors are named as transformers names them, with or without `model.` before; those that a
/// decoder doesn't have, such as `lm_head.weight`, are ignored.
///
/// # Errors
/// When a file can't be read or is broken, lies outside the directory, a tensor is missing, isn't
/// f32, f16 or bf16, or has another shape than `config` asks for.
pub fn decoder_from_safetensors(path: &Path, config: &DecoderConfig) -> Result<Transformer, Error> {
    config.check().map_err(|e| e.at(path))?;
    let tensors = SafetensorsModel::open(path)?;
    decoder(&tensors, config).map_err(|e| e.at(path))
}

fn decoder(tensors: &SafetensorsModel, config: &DecoderConfig) -> Result<Transformer, Error> {
    // The files of a bare `Qwen3Model` have no prefix.
    let prefix = if tensors.has("model.embed_tokens.weight") {
        "model."
    } else {
        ""
    };
    let get = |name: &str| tensors.tensor(&format!("{prefix}{name}.weight"));
    let norm = |weight: Tensor| Norm {
        kind: NormKind::Rms,
        weight,
        bias: None,
        epsilon: config.rms_norm_eps,
    };
    let blocks = (0..config.num_hidden_layers).map(|i| {
        let get = |name: &str| get(&format!("layers.{i}.{name}"));
        let linear = |name: &str| Linear::new(LinearWeight::OutIn(get(name)?));
        let norm = |name: &str| Ok::<_, Error>(norm(get(name)?));
        let norm_before = |name: &str| {
            Ok::<_, Error>(BranchNorms {
                before: Some(norm(name)?),
                ..BranchNorms::default()
            })
        };
        Ok(Block {
            attention_norms: norm_before("input_layernorm")?,
            attention: Attention {
                query: linear("self_attn.q_proj")?,
                key: linear("self_attn.k_proj")?,
                value: linear("self_attn.v_proj")?,
                query_norm: Some(norm("self_attn.q_norm")?),
                key_norm: Some(norm("self_attn.k_norm")?),
                output: linear("self_attn.o_proj")?,
                heads: config.num_attention_heads,
                key_value_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
                scale: 1.0 / (config.head_dim as f32).sqrt(),
                rotary: Some(Rotary {
                    base: config.rope_theta,
                    position_scale: 1.0,
                    width: config.head_dim,
                    scaling: RotaryScaling::None,
                }),
                mask: Mask::Causal,
                relative_bias: None,
            },
            mlp_norms: norm_before("post_attention_layernorm")?,
            mlp: Mlp {
                gate: Some(linear("mlp.gate_proj")?),
                up: linear("mlp.up_proj")?,
                down: linear("mlp.down_proj")?,
                activation: Activation::Silu,
            },
        })
    });
    let decoder = Transformer {
        embeddings: Embeddings {
            words: EmbeddingTable::new(get("embed_tokens")?)?,
            scale: None,
            positions: None,
            token_types: None,
            norm: None,
        },
        blocks: blocks.collect::<Result<_, Error>>()?,
        final_norm: Some(norm(get("norm")?)),
        head: Head::LastToken,
        dense: Vec::new(),
        max_tokens: config.max_position_embeddings,
    };
    // A model with more layers than config.json says would answer, wrongly.
    let count = config.num_hidden_layers;
    let next = format!("{prefix}layers.{count}.input_layernorm.weight");
    if tensors.has(&next) {
        let why = format!("is there, but num_hidden_layers is {count}");
        return Err(Error::tensor(&next, why));
    }
    shapes::check(&decoder, config)?;
    Ok(decoder)
}

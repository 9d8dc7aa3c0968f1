//! Qwen3, from the safetensors files of its PyTorch model.

use std::path::Path;

use akidb_onnx::Error;
use akidb_onnx::safetensors::SafetensorsModel;

use crate::config::DecoderConfig;
use crate::decoder::{Decoder, DecoderLayer};
use crate::shapes;
use crate::weights::{EmbeddingTable, Linear, LinearWeight};

/// Reads a decoder from a safetensors file, from `model.safetensors.index.json` and the files that it
/// names, or from a directory that holds either. Weights stay in the mapped files.
///
/// Tensors are named as transformers names them, with or without `model.` before; those that a
/// decoder doesn't have, such as `lm_head.weight`, are ignored.
///
/// # Errors
/// When a file can't be read or is broken, lies outside the directory, a tensor is missing, isn't
/// f32, f16 or bf16, or has another shape than `config` asks for.
pub fn decoder_from_safetensors(path: &Path, config: &DecoderConfig) -> Result<Decoder, Error> {
    config.check().map_err(|e| e.at(path))?;
    let tensors = SafetensorsModel::open(path)?;
    decoder(&tensors, config).map_err(|e| e.at(path))
}

fn decoder(tensors: &SafetensorsModel, config: &DecoderConfig) -> Result<Decoder, Error> {
    // The files of a bare `Qwen3Model` have no prefix.
    let prefix = if tensors.has("model.embed_tokens.weight") {
        "model."
    } else {
        ""
    };
    let get = |name: &str| tensors.tensor(&format!("{prefix}{name}.weight"));
    let layers = (0..config.num_hidden_layers).map(|i| {
        let get = |name: &str| get(&format!("layers.{i}.{name}"));
        let linear = |name: &str| Linear::new(LinearWeight::OutIn(get(name)?));
        Ok(DecoderLayer {
            input_layernorm: get("input_layernorm")?,
            q_proj: linear("self_attn.q_proj")?,
            k_proj: linear("self_attn.k_proj")?,
            v_proj: linear("self_attn.v_proj")?,
            q_norm: get("self_attn.q_norm")?,
            k_norm: get("self_attn.k_norm")?,
            o_proj: linear("self_attn.o_proj")?,
            post_attention_layernorm: get("post_attention_layernorm")?,
            gate_proj: linear("mlp.gate_proj")?,
            up_proj: linear("mlp.up_proj")?,
            down_proj: linear("mlp.down_proj")?,
        })
    });
    let decoder = Decoder {
        config: config.clone(),
        embed_tokens: EmbeddingTable::new(get("embed_tokens")?)?,
        layers: layers.collect::<Result<_, Error>>()?,
        norm: get("norm")?,
    };
    // A model with more layers than config.json says would answer, wrongly.
    let count = config.num_hidden_layers;
    let next = format!("{prefix}layers.{count}.input_layernorm.weight");
    if tensors.has(&next) {
        let why = format!("is there, but num_hidden_layers is {count}");
        return Err(Error::tensor(&next, why));
    }
    shapes::check(&decoder)?;
    Ok(decoder)
}

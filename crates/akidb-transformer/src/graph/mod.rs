//! Finds a decoder in an ONNX graph by its edges.
//!
//! The walk goes back from the last hidden state: final norm, then layer by layer the MLP and the
//! attention, down to the embedding table. Names serve error texts only. The known forms are
//! those of ONNX Runtime GenAI's model builder, what ONNX Runtime's quantizers make of them, and
//! ONNX's own `Attention`, `RotaryEmbedding` and `RMSNormalization` of opset 23, in any mixture;
//! whatever else turns up is named in
//! [`ErrorKind::NotRecognised`](akidb_onnx::ErrorKind::NotRecognised).

mod attention;
mod bool_mask;
mod dequantize_linear;
mod group_query_attention;
mod heads;
mod layers;
mod linear;
mod mask;
mod projection;
mod rotary;
mod standard_attention;
mod walk;

use layers::Found;
use rotary::RotaryCache;
use walk::unknown;

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::shapes;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::{Disagreement, Error, ErrorKind};

/// The decoder that `model` computes. Weights stay in the mapped file; scales and zero points of
/// quantized ones are looked at.
///
/// With a `config`, the graph must agree with it, and `rope_theta` and `max_position_embeddings`
/// are taken from it. Without, `rope_theta` is worked out from the rotary tables, and their length
/// is `max_position_embeddings`.
///
/// # Errors
/// [`ErrorKind::NotRecognised`] when the graph is sound but something else than a known form of
/// decoder, see [`Error::is_not_recognised`]; [`ErrorKind::Disagreement`] when `config` says
/// otherwise; others when tensors are broken or contradict each other.
pub fn recognise(model: &OnnxModel, config: Option<&DecoderConfig>) -> Result<Decoder, Error> {
    let recognised = Recognised::new(model)?;
    let Some(config) = config else {
        return Ok(recognised.decoder);
    };
    match recognised.disagreements(config)?.into_iter().next() {
        Some(first) => Err(model.locate(ErrorKind::Disagreement(first).into())),
        None => Ok(Decoder {
            config: config.clone(),
            ..recognised.decoder
        }),
    }
}

/// A decoder with its configuration as the graph tells it.
pub(crate) struct Recognised {
    pub(crate) decoder: Decoder,
    rotary: RotaryCache,
}

impl Recognised {
    pub(crate) fn new(model: &OnnxModel) -> Result<Self, Error> {
        let found = layers::Recogniser::new(model).run();
        found.and_then(Self::assemble).map_err(|e| model.locate(e))
    }

    fn assemble(found: Found<'_>) -> Result<Self, Error> {
        let heads = found.heads;
        let rotary = RotaryCache::new(found.cos_cache, found.sin_cache, heads.head_dim)?;
        let intermediate_size = found.layers.first().map(|l| l.gate_proj.out_features());
        let decoder = Decoder {
            config: DecoderConfig {
                hidden_size: found.embed_tokens.hidden_size(),
                num_hidden_layers: found.layers.len(),
                num_attention_heads: heads.num_attention_heads,
                num_key_value_heads: heads.num_key_value_heads,
                head_dim: heads.head_dim,
                intermediate_size: intermediate_size.unwrap_or(0),
                vocab_size: found.embed_tokens.vocab_size(),
                rms_norm_eps: found.rms_norm_eps,
                rope_theta: rotary
                    .base()?
                    .ok_or_else(|| unknown(found.rotary, "its tables have no plain base"))?,
                max_position_embeddings: rotary.positions(),
            },
            embed_tokens: found.embed_tokens,
            layers: found.layers,
            norm: found.norm,
        };
        // The same rules as for config.json, but the numbers are the graph's.
        decoder.config.check().map_err(|e| match e.kind() {
            ErrorKind::Config { key, why } => Error::graph(format!("{key}: {why}")),
            _ => e,
        })?;
        shapes::check(&decoder)?;
        Ok(Self { decoder, rotary })
    }

    /// Where `config.json` and the graph differ.
    pub(crate) fn disagreements(&self, config: &DecoderConfig) -> Result<Vec<Disagreement>, Error> {
        let graph = &self.decoder.config;
        let mut found = config.disagreements(graph);
        if !self.rotary.has_base(config.rope_theta)? {
            found.push(Disagreement {
                key: "rope_theta",
                config: config.rope_theta.to_string(),
                graph: graph.rope_theta.to_string(),
            });
        }
        if config.max_position_embeddings > graph.max_position_embeddings {
            found.push(Disagreement {
                key: "max_position_embeddings",
                config: config.max_position_embeddings.to_string(),
                graph: graph.max_position_embeddings.to_string(),
            });
        }
        Ok(found)
    }
}

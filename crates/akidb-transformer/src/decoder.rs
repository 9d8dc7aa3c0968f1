//! A decoder-only transformer of the Qwen3 family, whatever file it came from.

use akidb_onnx::tensor::Tensor;

use crate::config::DecoderConfig;
use crate::weights::{EmbeddingTable, Linear};

/// Configuration and weights of a recognised decoder. All shapes agree with the configuration.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// Sizes and constants.
    pub config: DecoderConfig,
    /// `[vocab_size, hidden_size]`.
    pub embed_tokens: EmbeddingTable,
    /// `num_hidden_layers` of them.
    pub layers: Vec<DecoderLayer>,
    /// Final RMSNorm, `[hidden_size]`.
    pub norm: Tensor,
}

/// Weights of one layer.
#[derive(Debug, Clone)]
pub struct DecoderLayer {
    /// RMSNorm before attention, `[hidden_size]`.
    pub input_layernorm: Tensor,
    /// `hidden_size` → `num_attention_heads * head_dim`.
    pub q_proj: Linear,
    /// `hidden_size` → `num_key_value_heads * head_dim`.
    pub k_proj: Linear,
    /// `hidden_size` → `num_key_value_heads * head_dim`.
    pub v_proj: Linear,
    /// RMSNorm of each query head, `[head_dim]`.
    pub q_norm: Tensor,
    /// RMSNorm of each key head, `[head_dim]`.
    pub k_norm: Tensor,
    /// `num_attention_heads * head_dim` → `hidden_size`.
    pub o_proj: Linear,
    /// RMSNorm before the MLP, `[hidden_size]`.
    pub post_attention_layernorm: Tensor,
    /// `hidden_size` → `intermediate_size`.
    pub gate_proj: Linear,
    /// `hidden_size` → `intermediate_size`.
    pub up_proj: Linear,
    /// `intermediate_size` → `hidden_size`.
    pub down_proj: Linear,
}

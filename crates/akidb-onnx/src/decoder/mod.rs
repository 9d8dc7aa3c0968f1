//! A decoder-only transformer of the Qwen3 family, whatever file it came from.

mod config;
mod recognise;
pub(crate) mod safetensors;
mod shapes;

pub use config::DecoderConfig;
pub(crate) use recognise::Recognised;
pub use recognise::recognise;
pub use safetensors::decoder_from_safetensors;

use crate::tensor::Tensor;

/// Configuration and weights of a recognised decoder. All shapes agree with the configuration.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// Sizes and constants.
    pub config: DecoderConfig,
    /// `[vocab_size, hidden_size]`.
    pub embed_tokens: Tensor,
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

/// A linear layer without bias: `y = x · W`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Width of `x` (K).
    pub in_features: usize,
    /// Width of `y` (N).
    pub out_features: usize,
    /// The weight as the file stores it.
    pub weight: LinearWeight,
}

/// How a file stores a linear layer's weight.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinearWeight {
    /// f32, f16 or bf16, `[in_features, out_features]` (ONNX `MatMul`).
    InOut(Tensor),
    /// f32, f16 or bf16, `[out_features, in_features]` (PyTorch `nn.Linear`).
    OutIn(Tensor),
}

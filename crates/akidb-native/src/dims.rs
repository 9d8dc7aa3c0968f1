//! The sizes of a decoder, checked once.

use std::ops::Range;

use akidb_kernels::{Attention, KeyValues, NR};
use akidb_onnx::decoder::DecoderConfig;

use crate::error::EngineError;

/// Largest width that is believed.
const MAX_WIDTH: usize = 1 << 20;

/// Sizes of a decoder, and where the parts of its fused products lie.
#[derive(Debug, Clone)]
pub(crate) struct Dims {
    pub(crate) hidden_size: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
    /// Width of all query heads.
    pub(crate) q_width: usize,
    /// Width of all key heads, and of all value heads.
    pub(crate) kv_width: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) vocab_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) rms_norm_eps: f32,
    pub(crate) attention: Attention,
    /// First column of k in q/k/v; q starts at 0. Parts start with a panel.
    pub(crate) k_column: usize,
    /// First column of v in q/k/v.
    pub(crate) v_column: usize,
    /// First column of up in gate/up; gate starts at 0.
    pub(crate) up_column: usize,
}

impl Dims {
    pub(crate) fn new(config: &DecoderConfig) -> Result<Self, EngineError> {
        let refuse = |key, value, why| EngineError::Config { key, value, why };
        for (key, value, max) in [
            ("hidden_size", config.hidden_size, MAX_WIDTH),
            ("num_hidden_layers", config.num_hidden_layers, MAX_WIDTH),
            ("num_attention_heads", config.num_attention_heads, MAX_WIDTH),
            ("num_key_value_heads", config.num_key_value_heads, MAX_WIDTH),
            ("head_dim", config.head_dim, MAX_WIDTH),
            ("intermediate_size", config.intermediate_size, MAX_WIDTH),
            ("vocab_size", config.vocab_size, u32::MAX as usize),
            // Positions beyond are no longer exact in f32.
            (
                "max_position_embeddings",
                config.max_position_embeddings,
                1 << 24,
            ),
        ] {
            if value == 0 || value > max {
                return Err(refuse(key, value, "is out of range"));
            }
        }
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let head_dim = config.head_dim;
        if !heads.is_multiple_of(kv_heads) {
            let why = "is no multiple of num_key_value_heads";
            return Err(refuse("num_attention_heads", heads, why));
        }
        if heads > MAX_WIDTH / head_dim {
            return Err(refuse(
                "num_attention_heads",
                heads,
                "is too many for head_dim",
            ));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(refuse("head_dim", head_dim, "is odd"));
        }
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let k_column = q_width.next_multiple_of(NR);
        Ok(Self {
            hidden_size: config.hidden_size,
            num_key_value_heads: kv_heads,
            head_dim,
            q_width,
            kv_width,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            rms_norm_eps: config.rms_norm_eps,
            attention: Attention {
                key_values: KeyValues::new(head_dim)?,
                query_heads: heads / kv_heads,
                scale: 1.0 / (head_dim as f32).sqrt(),
            },
            k_column,
            v_column: k_column + kv_width.next_multiple_of(NR),
            up_column: config.intermediate_size.next_multiple_of(NR),
        })
    }

    /// Width of q/k/v.
    pub(crate) fn qkv_width(&self) -> usize {
        self.v_column + self.kv_width
    }

    /// Width of gate/up.
    pub(crate) fn gate_up_width(&self) -> usize {
        self.up_column + self.intermediate_size
    }

    /// Panels of q in q/k/v.
    pub(crate) fn q_panels(&self) -> Range<usize> {
        0..self.k_column / NR
    }

    /// Panels of k and v in q/k/v.
    pub(crate) fn kv_panels(&self) -> Range<usize> {
        self.k_column / NR..self.qkv_width().div_ceil(NR)
    }
}

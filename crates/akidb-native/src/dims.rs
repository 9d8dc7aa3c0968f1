//! The sizes of a model, checked once.

use akidb_kernels::NR;
use akidb_transformer::Transformer;

use crate::error::EngineError;
use crate::qkv_layout::QkvLayout;

/// Largest width that is believed.
const MAX_WIDTH: usize = 1 << 20;

/// Widest head that attention takes.
const MAX_HEAD_DIM: usize = 1 << 16;

/// Sizes of a model, and where the parts of its fused products lie.
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
    /// Whether the MLP has a gate.
    pub(crate) is_gated: bool,
    /// Columns of q/k/v.
    pub(crate) qkv: QkvLayout,
}

impl Dims {
    pub(crate) fn new(model: &Transformer) -> Result<Self, EngineError> {
        let config = model.decoder_config();
        let refuse = |key, value, why| EngineError::Config { key, value, why };
        for (key, value, max) in [
            ("hidden_size", config.hidden_size, MAX_WIDTH),
            ("num_hidden_layers", config.num_hidden_layers, MAX_WIDTH),
            ("num_attention_heads", config.num_attention_heads, MAX_WIDTH),
            ("num_key_value_heads", config.num_key_value_heads, MAX_WIDTH),
            ("head_dim", config.head_dim, MAX_HEAD_DIM),
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
        Ok(Self {
            hidden_size: config.hidden_size,
            num_key_value_heads: kv_heads,
            head_dim,
            q_width,
            kv_width,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            is_gated: model.blocks.iter().any(|block| block.mlp.gate.is_some()),
            qkv: QkvLayout::new(kv_heads, head_dim, q_width / kv_heads),
        })
    }

    /// Width of what goes into the MLP: of gate and up, whose panels alternate, or of up alone.
    fn inner_width(&self) -> usize {
        match self.is_gated {
            true => 2 * self.intermediate_size.next_multiple_of(NR),
            false => self.intermediate_size,
        }
    }

    /// K and N of a layer's products: q/k/v, o, gate/up (or up) and down.
    pub(crate) fn product_shapes(&self) -> Vec<[usize; 2]> {
        vec![
            [self.hidden_size, self.qkv.width()],
            [self.q_width, self.hidden_size],
            [self.hidden_size, self.inner_width()],
            [self.intermediate_size, self.hidden_size],
        ]
    }

    /// Width of the query heads that share a key/value head.
    pub(crate) fn query_group(&self) -> usize {
        self.q_width / self.num_key_value_heads
    }

    /// Multiplications of a query with one key and one value, to those of a row in all linear
    /// layers.
    pub(crate) fn attention_share(&self) -> f64 {
        let qkv = self.hidden_size * self.qkv.width();
        let o = self.hidden_size * self.q_width;
        let products = if self.is_gated { 3 } else { 2 };
        let mlp = products * self.hidden_size * self.intermediate_size;
        (2 * self.q_width) as f64 / (qkv + o + mlp) as f64
    }
}

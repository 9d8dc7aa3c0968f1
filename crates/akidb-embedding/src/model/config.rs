//! What config.json says.

use serde::Deserialize;

/// `config.json`, as far as it is of use here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) architectures: Vec<String>,
    pub(super) model_type: Option<String>,
    #[serde(rename = "_name_or_path")]
    pub(super) name_or_path: Option<String>,
    pub(super) is_causal: Option<bool>,
    pub(super) use_bidirectional_attention: Option<bool>,
    pub(super) eos_token_id: Option<OneOrMany>,
    /// Some files have -1 for none.
    pub(super) pad_token_id: Option<i64>,
    pub(super) vocab_size: Option<usize>,
    pub(super) hidden_size: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) num_attention_heads: Option<usize>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) matryoshka_dimensions: Option<Vec<usize>>,
    pub(super) lora_adaptations: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

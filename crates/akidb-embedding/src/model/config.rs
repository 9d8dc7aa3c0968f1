//! What config.json says.

use serde::Deserialize;
use serde_json::{Map, Value};

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
    /// One entry a label of a classifier.
    pub(super) id2label: Option<Map<String, Value>>,
    pub(super) num_labels: Option<usize>,
    pub(super) tie_word_embeddings: Option<bool>,
    /// What sentence-transformers writes of a cross-encoder, and what it wrote before version 4.
    pub(super) sentence_transformers: Option<CrossEncoder>,
    pub(super) sbert_ce_default_activation_function: Option<String>,
    pub(super) classifier_pooling: Option<String>,
    pub(super) classifier_activation: Option<String>,
    pub(super) norm_eps: Option<f32>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CrossEncoder {
    /// As `torch.nn.modules.linear.Identity`.
    pub(super) activation_fn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

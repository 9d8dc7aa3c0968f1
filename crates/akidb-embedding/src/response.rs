//! What comes back.

use serde::Serialize;

use crate::options::Scoring;
use crate::vectors::Values;

/// One text's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The numbers.
    pub values: Values,
    /// Tokens that the model saw, special tokens included.
    pub tokens: usize,
    /// The text was longer than the limit, and its end was not seen.
    pub truncated: bool,
}

/// Where vectors come from. Vectors of different provenance should not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// Model id.
    pub model: String,
    /// Revision of the model's files, where known.
    pub revision: Option<String>,
    /// Which weight file.
    pub variant: String,
    /// Arithmetic of the linear layers.
    pub precision: String,
    /// What ran the model.
    pub backend: String,
    /// CPU tier or execution provider.
    pub device: String,
    /// How tokens became one vector.
    pub pooling: String,
    /// What was put before each text.
    pub instruction: String,
    /// The name of the model's prompt that this is, or was made of, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The model's adaptation that ran, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Length of the vectors.
    pub dimension: usize,
    /// Whether the model was trained to be cut to this length: `unknown` where vectors are cut and the
    /// model's files name no lengths for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matryoshka: Option<Matryoshka>,
    /// Whether they have length 1.
    pub normalized: bool,
    /// Their element type.
    pub encoding: String,
    /// Why another backend than the preferred one ran, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How a query and a document become a score, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
    /// What no file of the model says and was guessed: `pooling: mean` above all. The vectors are wrong
    /// where a guess is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guesses: Vec<String>,
}

/// Whether a model was trained for vectors that are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matryoshka {
    /// Its files name this length.
    Named,
    /// They name none.
    Unknown,
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedResponse {
    /// One per input, in order.
    pub embeddings: Vec<Embedding>,
    /// Tokens of all inputs.
    pub total_tokens: usize,
    /// Where the vectors come from.
    pub provenance: Provenance,
}

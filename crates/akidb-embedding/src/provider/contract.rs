//! AkiDB's contract for embedding services.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Why a provider could not answer.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// The provider doesn't have the model that the request names.
    #[error("model not found: {0}")]
    ModelNotFound(String),
    /// The request can't be fulfilled as it is.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The provider is stopped or not ready, has too much to do, or would answer too late.
    #[error("service unavailable: {0}")]
    ServiceUnavailable(String),
    /// The model failed.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Result of a provider's call.
pub type EmbeddingResult<T> = Result<T, EmbeddingError>;

/// Texts to embed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEmbeddingRequest {
    /// Id of the model; must be the provider's own.
    pub model: String,
    /// The texts, at least one.
    pub inputs: Vec<String>,
    /// Scale each vector to length 1.
    #[serde(default)]
    pub normalize: bool,
}

/// Their vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchEmbeddingResponse {
    /// Id of the model that made them.
    pub model: String,
    /// One per input, in order, [`ModelInfo::dimension`] values each.
    pub embeddings: Vec<Vec<f32>>,
    /// What it took.
    pub usage: Usage,
}

/// What a request took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of all inputs, special tokens included.
    pub total_tokens: usize,
    /// Time from the start of the first pass, in milliseconds.
    pub duration_ms: u64,
}

/// What a provider's model can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its id.
    pub model: String,
    /// Length of the provider's vectors.
    pub dimension: u32,
    /// Longest text in tokens; longer ones are cut, and the log says so.
    pub max_tokens: usize,
}

/// Something that embeds texts for a vector database.
#[async_trait]
pub trait EmbeddingProvider: Send + Sync {
    /// Embeds the request's texts.
    ///
    /// # Errors
    /// When the model isn't the provider's, there is no text, or the work fails.
    async fn embed_batch(
        &self,
        request: BatchEmbeddingRequest,
    ) -> EmbeddingResult<BatchEmbeddingResponse>;

    /// Tells what the model can do.
    ///
    /// # Errors
    /// When the provider has no model.
    async fn model_info(&self) -> EmbeddingResult<ModelInfo>;

    /// Embeds a word to see that everything works.
    ///
    /// # Errors
    /// When it doesn't.
    async fn health_check(&self) -> EmbeddingResult<()>;
}

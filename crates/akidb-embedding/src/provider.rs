//! AkiDB's contract for embedding services, and the provider that fulfils it with this library.

use std::sync::mpsc;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::diagnostics::chain;
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::EmbedOptions;

/// Why a provider could not answer.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// The provider doesn't have the model that the request names.
    #[error("model not found: {0}")]
    ModelNotFound(String),
    /// The request can't be fulfilled as it is.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The provider is stopped or not ready.
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
    /// Time from the start of the work, in milliseconds.
    pub duration_ms: u64,
}

/// What a provider's model can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its id.
    pub model: String,
    /// Length of its vectors.
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

/// [`EmbeddingProvider`] over an [`Embedder`].
///
/// The work is done on a thread of its own, one request after the other (each uses all the
/// embedder's threads), so no async runtime is blocked and none is needed.
///
/// ```
/// use akidb_embedding::{Embedder, EmbeddingProvider, OnnxEmbeddingProvider};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let embedder = Embedder::builder().model("akidb-mini").build()?;
/// let provider = OnnxEmbeddingProvider::new(embedder)?;
/// assert_eq!(provider.model_info().await?.dimension, 256);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OnnxEmbeddingProvider {
    info: ModelInfo,
    jobs: mpsc::Sender<Job>,
}

struct Job {
    inputs: Vec<String>,
    normalize: bool,
    answer: oneshot::Sender<EmbeddingResult<(Vec<Vec<f32>>, Usage)>>,
}

impl OnnxEmbeddingProvider {
    /// Starts the thread that does the work; it ends when the provider is dropped.
    ///
    /// # Errors
    /// [`EmbeddingError::Internal`] when the system gives no thread.
    pub fn new(embedder: Embedder) -> EmbeddingResult<Self> {
        let info = ModelInfo {
            model: embedder.model().to_owned(),
            dimension: u32::try_from(embedder.dimension())
                .map_err(|e| EmbeddingError::Internal(e.to_string()))?,
            max_tokens: embedder.max_tokens(),
        };
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("akidb-embedding".to_owned())
            .spawn(move || {
                for job in queue {
                    // Nobody waits for the answer any more: don't compute it.
                    if !job.answer.is_closed() {
                        let answer = work(&embedder, &job.inputs, job.normalize);
                        // The caller may have gone in the meantime.
                        let _ = job.answer.send(answer);
                    }
                }
            })
            .map_err(|e| EmbeddingError::Internal(format!("no thread: {e}")))?;
        Ok(Self { info, jobs })
    }

    async fn run(
        &self,
        inputs: Vec<String>,
        normalize: bool,
    ) -> EmbeddingResult<(Vec<Vec<f32>>, Usage)> {
        let stopped =
            || EmbeddingError::ServiceUnavailable("the embedding thread has stopped".to_owned());
        let (answer, wait) = oneshot::channel();
        let job = Job {
            inputs,
            normalize,
            answer,
        };
        self.jobs.send(job).map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

fn work(
    embedder: &Embedder,
    inputs: &[String],
    normalize: bool,
) -> EmbeddingResult<(Vec<Vec<f32>>, Usage)> {
    let start = Instant::now();
    let options = EmbedOptions {
        normalize,
        ..EmbedOptions::default()
    };
    let answer = embedder.embed(inputs, &options).map_err(|e| {
        let message = chain(&e);
        match e {
            EmbedError::InvalidTokens { .. } | EmbedError::TooLong { .. } => {
                EmbeddingError::InvalidInput(message)
            }
            _ => EmbeddingError::Internal(message),
        }
    })?;
    let truncated = answer.embeddings.iter().filter(|e| e.truncated).count();
    if truncated > 0 {
        tracing::warn!(
            truncated,
            max_tokens = embedder.max_tokens(),
            "texts were longer than the model takes: their ends were cut off"
        );
    }
    let usage = Usage {
        total_tokens: answer.total_tokens,
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let vectors = answer
        .embeddings
        .into_iter()
        .filter_map(|e| e.values.into_f32())
        .collect();
    Ok((vectors, usage))
}

#[async_trait]
impl EmbeddingProvider for OnnxEmbeddingProvider {
    async fn embed_batch(
        &self,
        request: BatchEmbeddingRequest,
    ) -> EmbeddingResult<BatchEmbeddingResponse> {
        if request.model != self.info.model {
            return Err(EmbeddingError::ModelNotFound(request.model));
        }
        if request.inputs.is_empty() {
            return Err(EmbeddingError::InvalidInput("there is no text".to_owned()));
        }
        let (embeddings, usage) = self.run(request.inputs, request.normalize).await?;
        Ok(BatchEmbeddingResponse {
            model: request.model,
            embeddings,
            usage,
        })
    }

    async fn model_info(&self) -> EmbeddingResult<ModelInfo> {
        Ok(self.info.clone())
    }

    async fn health_check(&self) -> EmbeddingResult<()> {
        self.run(vec!["health".to_owned()], true).await.map(drop)
    }
}

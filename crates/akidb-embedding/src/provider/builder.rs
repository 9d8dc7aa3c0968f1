//! How a provider embeds, and what it accepts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::contract::{EmbeddingResult, ModelInfo};
use super::errors::{failed, internal};
use super::onnx::OnnxEmbeddingProvider;
use super::queue::ModelQueue;
use crate::embedder::Embedder;
use crate::options::EmbedOptions;
use crate::prompt::{Prompt, Role};
use crate::vectors::Encoding;

const DEFAULT_QUEUE_BOUND: usize = 1 << 16;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);

/// Says how a provider embeds, and what it accepts. See [`OnnxEmbeddingProvider::builder`].
#[derive(Debug, Clone)]
pub struct OnnxEmbeddingProviderBuilder {
    role: Option<Role>,
    instruction: Option<String>,
    dimension: Option<usize>,
    encoding: Encoding,
    queue_bound: usize,
    deadline: Duration,
}

impl Default for OnnxEmbeddingProviderBuilder {
    fn default() -> Self {
        Self {
            role: None,
            instruction: None,
            dimension: None,
            encoding: Encoding::F32,
            queue_bound: DEFAULT_QUEUE_BOUND,
            deadline: DEFAULT_DEADLINE,
        }
    }
}

impl OnnxEmbeddingProvider {
    /// Says how a provider embeds, and what it accepts.
    pub fn builder() -> OnnxEmbeddingProviderBuilder {
        OnnxEmbeddingProviderBuilder::default()
    }

    /// A provider of the builder's defaults.
    ///
    /// # Errors
    /// As [`OnnxEmbeddingProviderBuilder::build`].
    pub fn new(embedder: Embedder) -> EmbeddingResult<Self> {
        Self::builder().build(embedder)
    }
}

impl OnnxEmbeddingProviderBuilder {
    /// What its texts are for; without it, they get the model's default prompt.
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// The task that its queries are for, in your own words.
    pub fn instruction(mut self, task: impl Into<String>) -> Self {
        self.instruction = Some(task.into());
        self
    }

    /// Keeps only the first so many values of each vector (Matryoshka).
    pub fn dimension(mut self, dimension: usize) -> Self {
        self.dimension = Some(dimension);
        self
    }

    /// The encoding that vectors are kept in: they come as f32, but each value is one that the
    /// encoding can hold ([`Values::decode`](crate::Values::decode)).
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Most texts of its callers that wait or run at a time; 65 536 unless told otherwise. Who comes
    /// beyond is told [`ServiceUnavailable`](super::EmbeddingError::ServiceUnavailable). A batch of
    /// more is accepted when nothing else is there.
    pub fn queue_bound(mut self, texts: usize) -> Self {
        self.queue_bound = texts.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long a call may take; five minutes unless told otherwise. What takes longer is given up,
    /// and the caller told [`ServiceUnavailable`](super::EmbeddingError::ServiceUnavailable). A
    /// health check takes ten seconds at most.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A provider over a model, which is run a few times to see how fast it is.
    ///
    /// # Errors
    /// When the options don't fit each other or the model, the model fails, or the system gives no
    /// thread.
    pub fn build(self, embedder: Embedder) -> EmbeddingResult<OnnxEmbeddingProvider> {
        let queue = ModelQueue::start(embedder)?;
        self.over(Arc::new(queue))
    }

    /// A provider over the model of another; both share the queue, and passes have texts of both
    /// where these start with the same prompt.
    ///
    /// # Errors
    /// When the options don't fit each other or the model.
    pub fn build_sharing(
        self,
        other: &OnnxEmbeddingProvider,
    ) -> EmbeddingResult<OnnxEmbeddingProvider> {
        self.over(other.queue())
    }

    fn over(self, queue: Arc<ModelQueue>) -> EmbeddingResult<OnnxEmbeddingProvider> {
        let prompt = Prompt::of(self.role, self.instruction).map_err(failed)?;
        let options = EmbedOptions {
            prompt,
            dimension: self.dimension,
            encoding: self.encoding,
            ..EmbedOptions::default()
        };
        let embedder = &queue.embedder;
        embedder.check_embeds().map_err(failed)?;
        let provenance = embedder.provenance(&options).map_err(failed)?;
        let info = ModelInfo {
            model: provenance.model,
            dimension: u32::try_from(provenance.dimension).map_err(internal)?,
            max_tokens: embedder.max_tokens(),
        };
        let instruction = provenance.instruction.into();
        Ok(OnnxEmbeddingProvider::new_over(
            queue,
            options,
            instruction,
            info,
            self.queue_bound,
            self.deadline,
        ))
    }
}

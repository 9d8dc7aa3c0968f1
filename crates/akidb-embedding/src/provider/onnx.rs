//! The provider over this library's models.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akidb_schedule::{Class, Done, Work};
use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::contract::{
    BatchEmbeddingRequest, BatchEmbeddingResponse, EmbeddingError, EmbeddingProvider,
    EmbeddingResult, ModelInfo, Usage,
};
use super::errors::{failed, internal, refused};
use super::queue::ModelQueue;
use crate::options::EmbedOptions;

/// A call with more texts is bulk work: it gives way to others.
const INTERACTIVE_TEXTS: usize = 32;

/// A health check that takes longer says that something is wrong.
const HEALTH_DEADLINE: Duration = Duration::from_secs(10);

/// [`EmbeddingProvider`] over an [`Embedder`](crate::Embedder).
///
/// Calls that come at the same time share passes of the model, whose work is done on a thread of its
/// own, so no async runtime is blocked and none is needed. A call whose future is dropped leaves the
/// queue.
///
/// ```
/// use akidb_embedding::{Embedder, EmbeddingProvider, OnnxEmbeddingProvider, Role};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let embedder = Embedder::builder().model("akidb-mini").build()?;
/// let documents = OnnxEmbeddingProvider::builder().role(Role::Document).build(embedder)?;
/// let queries = OnnxEmbeddingProvider::builder().role(Role::Query).build_sharing(&documents)?;
/// assert_eq!(queries.model_info().await?.dimension, 256);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OnnxEmbeddingProvider {
    queue: Arc<ModelQueue>,
    options: EmbedOptions,
    /// What the options put before each text.
    instruction: Arc<str>,
    info: ModelInfo,
    client: Arc<str>,
    /// One permit for each text that is there.
    room: Semaphore,
    bound: usize,
    deadline: Duration,
}

impl OnnxEmbeddingProvider {
    pub(super) fn new_over(
        queue: Arc<ModelQueue>,
        options: EmbedOptions,
        instruction: Arc<str>,
        info: ModelInfo,
        bound: usize,
        deadline: Duration,
    ) -> Self {
        Self {
            client: queue.client(),
            room: Semaphore::new(bound),
            queue,
            options,
            instruction,
            info,
            bound,
            deadline,
        }
    }

    pub(super) fn queue(&self) -> Arc<ModelQueue> {
        Arc::clone(&self.queue)
    }

    /// Room for a call's texts, while it is held.
    fn room(&self, texts: usize) -> EmbeddingResult<SemaphorePermit<'_>> {
        let permits = u32::try_from(texts.min(self.bound)).unwrap_or(u32::MAX);
        self.room.try_acquire_many(permits).map_err(|_| {
            EmbeddingError::ServiceUnavailable(format!(
                "the queue is full: it takes {} texts",
                self.bound
            ))
        })
    }

    /// What `work` gives, unless it takes too long.
    async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = EmbeddingResult<T>>,
    ) -> EmbeddingResult<T> {
        let Some(deadline) = Instant::now().checked_add(time) else {
            return work.await;
        };
        let done = self.queue.deadlines.by(deadline, work).await;
        done.unwrap_or_else(|| {
            Err(EmbeddingError::ServiceUnavailable(format!(
                "there was no answer within {time:?}"
            )))
        })
    }

    async fn embed(
        &self,
        texts: Vec<String>,
        normalize: bool,
    ) -> EmbeddingResult<(Vec<Vec<f32>>, Usage)> {
        let _room = self.room(texts.len())?;
        let options = EmbedOptions {
            normalize,
            ..self.options.clone()
        };
        let start = Instant::now();
        let texts = self.queue.tokens(texts, &options).await?;
        let truncated = texts.iter().filter(|text| text.truncated).count();
        if truncated > 0 {
            tracing::warn!(
                truncated,
                max_tokens = self.info.max_tokens,
                "texts were longer than the model takes: their ends were cut off"
            );
        }
        let total_tokens = texts.iter().map(|text| text.ids.len()).sum();
        let several = texts.len() > 1;
        let work = Work {
            engine: self.queue.engine,
            class: match texts.len() > INTERACTIVE_TEXTS {
                true => Class::Bulk,
                false => Class::Interactive,
            },
            items: texts.into_iter().map(Into::into).collect(),
            known: Vec::new(),
            group: Arc::clone(&self.instruction),
            client: Arc::clone(&self.client),
            max_wait: Duration::MAX,
            deadline: None,
        };
        let done = self.queue.scheduler.run(work).await;
        let Done { outputs, started } = done.map_err(|error| refused(error, several))?;
        let dimension = usize::try_from(self.info.dimension).map_err(internal)?;
        let finish = |(index, state): (usize, &Arc<[f32]>)| {
            let values = self.queue.embedder.finish(state, &options);
            let values = values.map_err(|error| failed(error.counted_from(index)))?;
            Ok(values.decode(dimension))
        };
        let vectors = outputs.iter().enumerate().map(finish);
        let vectors = vectors.collect::<EmbeddingResult<_>>()?;
        let duration = started.unwrap_or(start).elapsed();
        let usage = Usage {
            total_tokens,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        };
        Ok((vectors, usage))
    }
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
        let work = self.embed(request.inputs, request.normalize);
        let (embeddings, usage) = self.within(self.deadline, work).await?;
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
        let work = self.embed(vec!["health".to_owned()], true);
        let deadline = self.deadline.min(HEALTH_DEADLINE);
        self.within(deadline, work).await.map(drop)
    }
}

#[cfg(test)]
#[cfg(feature = "builtin")]
mod tests {
    use super::*;
    use crate::Embedder;

    #[tokio::test]
    async fn a_dropped_call_leaves_the_queue() {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let provider = OnnxEmbeddingProvider::new(embedder).unwrap();
        let call = |texts: u32| provider.embed((0..texts).map(|n| n.to_string()).collect(), true);
        let mut calls: Vec<_> = (1..20).map(|n| Box::pin(call(n))).collect();
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        for call in &mut calls {
            let _ = call.as_mut().poll(cx);
        }
        drop(calls);
        let stats = provider.queue.scheduler.stats();
        assert_eq!((stats.interactive.items, stats.bulk.items), (0, 0));
        assert_eq!(provider.room.available_permits(), provider.bound);
    }
}

//! One model and what its providers share: its queue and their threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use akidb_schedule::{Deadlines, EngineId, PassLimits, Scheduler};
use tokio::sync::oneshot;

use super::contract::{EmbeddingError, EmbeddingResult};
use super::errors::{failed, internal};
use crate::embedder::Embedder;
use crate::options::EmbedOptions;
use crate::tokenizer::Tokens;

/// Bounds of a pass, as the server has them: who comes meanwhile waits for its end.
const LIMITS: PassLimits = PassLimits {
    tokens: 16_384,
    time: Duration::from_millis(150),
};

/// What is tokenized where the caller is: less than a millisecond's work, mostly some µs.
const INLINE_BYTES: usize = 4 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// A model, the queue before it, and the threads that do what a caller's must not be held up by.
#[derive(Debug)]
pub(super) struct ModelQueue {
    pub(super) embedder: Arc<Embedder>,
    pub(super) scheduler: Scheduler<Embedder>,
    pub(super) engine: EngineId,
    pub(super) deadlines: Deadlines,
    tokenizing: mpsc::Sender<Job>,
    providers: AtomicU64,
}

impl ModelQueue {
    pub(super) fn start(embedder: Embedder) -> EmbeddingResult<Self> {
        let scheduler = Scheduler::start(LIMITS, 0, Box::new(())).map_err(internal)?;
        let speed = embedder.warm_up(&scheduler).map_err(failed)?;
        let embedder = Arc::new(embedder);
        let engine = scheduler.add_engine(embedder.model().into(), Arc::clone(&embedder), speed);
        let (tokenizing, jobs) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("akidb-tokenizing".to_owned())
            .spawn(move || {
                for job in jobs {
                    // Who waits for it learns of a panic by getting nothing.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })
            .map_err(internal)?;
        Ok(Self {
            embedder,
            scheduler,
            engine,
            deadlines: Deadlines::start().map_err(internal)?,
            tokenizing,
            providers: AtomicU64::new(0),
        })
    }

    /// A name for a provider, so that those who share the queue have equal shares.
    pub(super) fn client(&self) -> Arc<str> {
        let number = self.providers.fetch_add(1, Ordering::Relaxed);
        format!("provider {number}").into()
    }

    /// The tokens of each text.
    pub(super) async fn tokens(
        &self,
        texts: Vec<String>,
        options: &EmbedOptions,
    ) -> EmbeddingResult<Vec<Tokens>> {
        if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
            return tokenize(&self.embedder, &texts, options);
        }
        let (answer, wait) = oneshot::channel();
        let (embedder, options) = (Arc::clone(&self.embedder), options.clone());
        let job = move || {
            // Nobody waits for the answer any more: don't compute it.
            if !answer.is_closed() {
                // The caller may have gone in the meantime.
                let _ = answer.send(tokenize(&embedder, &texts, &options));
            }
        };
        let sent = self.tokenizing.send(Box::new(job));
        sent.map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

fn tokenize(
    embedder: &Embedder,
    texts: &[String],
    options: &EmbedOptions,
) -> EmbeddingResult<Vec<Tokens>> {
    let tokens = embedder.tokenize(texts, options).map_err(failed)?;
    tokens
        .into_iter()
        .map(|text| text.map_err(failed))
        .collect()
}

fn stopped() -> EmbeddingError {
    EmbeddingError::Internal("the tokenizer failed unexpectedly".to_owned())
}

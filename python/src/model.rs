//! A loaded model and the queue that all threads of the process share.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use akidb_embedding::{EmbedOptions, Embedder, EmbedderBuilder, PassText, RerankerBuilder};
use akidb_schedule::{Class, EngineId, PassLimits, Scheduler, Work};

use crate::failure::Failure;

/// Bounds of a pass, as the server has them: who comes meanwhile waits for its end, and so does an
/// interrupt.
pub(crate) const LIMITS: PassLimits = PassLimits {
    tokens: 16_384,
    time: Duration::from_millis(150),
};

/// A call with more texts is bulk work: it gives way to others.
const INTERACTIVE_TEXTS: usize = 32;

/// A model and the queue before it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) embedder: Arc<Embedder>,
    pub(crate) scheduler: Scheduler<Embedder>,
    engine: EngineId,
    /// The process that has the threads.
    process: u32,
    calls: AtomicU64,
}

impl Model {
    /// A model that embeds.
    pub(crate) fn load(builder: EmbedderBuilder) -> Result<Self, Failure> {
        Self::start(Arc::new(builder.build()?))
    }

    /// A model that scores documents.
    pub(crate) fn load_reranker(builder: RerankerBuilder) -> Result<Self, Failure> {
        Self::start(builder.build()?.into_embedder())
    }

    fn start(embedder: Arc<Embedder>) -> Result<Self, Failure> {
        let scheduler = Scheduler::start(LIMITS, 0, Box::new(())).map_err(|error| {
            let message = format!("the system gives no thread: {error}");
            Failure::new("BackendError", message)
        })?;
        let speed = embedder.warm_up(&scheduler)?;
        let engine = scheduler.add_engine(embedder.model().into(), Arc::clone(&embedder), speed);
        Ok(Self {
            embedder,
            scheduler,
            engine,
            process: process::id(),
            calls: AtomicU64::new(0),
        })
    }

    /// Whether this process was forked from the one that has the threads.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    /// # Errors
    /// In a forked process.
    pub(crate) fn check_process(&self) -> Result<(), Failure> {
        if !self.is_forked() {
            return Ok(());
        }
        let message = "this process was forked from the one that loaded the model, and has none of its \
                       threads";
        let hint = "load it in the process that uses it, or start processes with multiprocessing's \
                    \"spawn\"";
        Err(Failure::new("ForkedError", message).hint(hint))
    }

    /// What a call asks for.
    pub(crate) fn call(&self, texts: usize, instruction: String) -> Call {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call {
            engine: self.engine,
            class: match texts > INTERACTIVE_TEXTS {
                true => Class::Bulk,
                false => Class::Interactive,
            },
            client: number.to_string().into(),
            instruction: instruction.into(),
        }
    }

    /// What the options put before each text.
    pub(crate) fn instruction(&self, options: &EmbedOptions) -> Result<String, Failure> {
        Ok(self.embedder.provenance(options)?.instruction)
    }
}

/// What the works of one call have in common.
#[derive(Debug)]
pub(crate) struct Call {
    engine: EngineId,
    class: Class,
    client: Arc<str>,
    instruction: Arc<str>,
}

impl Call {
    pub(crate) fn work(&self, items: Vec<PassText>) -> Work<Embedder> {
        Work {
            engine: self.engine,
            items,
            known: Vec::new(),
            group: Arc::clone(&self.instruction),
            class: self.class,
            client: Arc::clone(&self.client),
            max_wait: Duration::MAX,
            deadline: None,
        }
    }
}

//! What every interface calls: texts in, vectors out, whoever asks and in whatever words.

mod check;
mod error;
mod models;
mod passes;
mod pieces;
mod request;
mod rerank;
mod states;
mod stats;
mod tokenize;
mod tokens;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use metrics::{counter, gauge};
use tokio::sync::RwLock;

pub use akidb_schedule::{Class, ClassStats};
pub use error::ServiceError;
pub use models::{ModelFacts, ModelStatus};
pub(crate) use pieces::{Pieces, PiecesPart};
pub use request::{EmbedAnswer, EmbedRequest, Timing};
pub use rerank::{RerankAnswer, RerankRequest};
pub(crate) use states::States;
pub use stats::Stats;

use akidb_embedding::{Embedder, Embedding, PassText, Tokens};
use akidb_schedule::{Done, PassLimits, Scheduler, Work};

use crate::room::{RETRY_AFTER, Reserved, Room};
use crate::settings::Settings;
use models::{Model, Models};
use passes::PassMetrics;
use tokenize::Tokenizing;
pub(crate) use tokenize::tokenizing_threads;

/// What a text takes beside its bytes until it is answered, for each value of its vector: the state, the
/// vector and, in JSON, up to 16 bytes.
const BYTES_PER_VALUE: usize = 2 * size_of::<f32>() + 16;

/// What is put before each text has no more bytes: each text's work grows by it.
const MAX_PROMPT_BYTES: usize = 16 << 10;

/// No request has more inputs, whatever the settings: each takes memory before it is looked at.
pub(crate) const MOST_INPUTS: usize = 1 << 16;

/// Waits are estimates. With this part of `max_wait` kept back, all but one in a hundred end within it.
const MARGIN: u32 = 6;

/// What bounds the texts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MostInputs {
    /// `max_client_batch_size`.
    Setting,
    /// What is held for clients.
    Memory,
}

/// The models, the queue before them and its limits.
#[derive(Debug)]
pub struct EmbeddingService {
    settings: Settings,
    models: Arc<Models>,
    scheduler: Arc<Scheduler<Embedder>>,
    tokenizing: Tokenizing,
    draining: AtomicBool,
    started: SystemTime,
    /// Each request holds it for reading.
    running: RwLock<()>,
}

impl EmbeddingService {
    /// A service for the models that the settings name; a model is loaded when it is first asked
    /// for.
    ///
    /// # Errors
    /// When the settings contradict each other, or there is no such model.
    pub fn new(settings: Settings) -> Result<Self, ServiceError> {
        check::check(&settings)?;
        let limits = PassLimits {
            tokens: settings.max_batch_tokens,
            time: settings.max_pass_time,
        };
        let cache = settings.result_cache_bytes;
        let scheduler = Scheduler::start(limits, cache, Box::new(PassMetrics))
            .map_err(|_| ServiceError::Stopped)?;
        let scheduler = Arc::new(scheduler);
        let models = Models::new(&settings, Arc::clone(&scheduler))?;
        Ok(Self {
            models: Arc::new(models),
            scheduler,
            tokenizing: Tokenizing::new(Room::new(settings.max_queue_bytes)),
            draining: AtomicBool::new(false),
            started: SystemTime::now(),
            running: RwLock::new(()),
            settings,
        })
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When it began: as far as clients are told, models have no time of their own.
    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }

    /// The names of the models, the default one first.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.names()
    }

    /// What is known of the models without loading them, the default one first.
    pub fn models(&self) -> Vec<ModelStatus> {
        self.models.status()
    }

    /// What is known of a model, or of the default one; loads it.
    ///
    /// # Errors
    /// When there is no such model, or it doesn't load.
    pub async fn model_facts(&self, model: Option<&str>) -> Result<ModelFacts, ServiceError> {
        Ok(self.models.get(model).await?.facts())
    }

    /// Loads the default model, where the settings say so, and runs it once.
    ///
    /// # Errors
    /// When it doesn't load.
    pub async fn preload(&self) -> Result<(), ServiceError> {
        if self.settings.preload {
            self.models.get(None).await?;
        }
        Ok(())
    }

    /// Refuses further requests and waits for the end of those that were accepted.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        drop(self.running.write().await);
    }

    /// Whether further requests are refused because the server stops.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Puts into the metrics what is of now.
    pub(crate) fn tell(&self) {
        gauge!("akidb_held_bytes").set(self.room().taken() as f64);
        for name in self.model_names() {
            let tokens = self.scheduler.queued_tokens(name);
            gauge!("akidb_queue_tokens", "model" => name.to_owned()).set(tokens as f64);
        }
    }

    /// What the service has to do and does.
    pub fn stats(&self) -> Stats {
        Stats::new(self.scheduler.stats(), &self.models, self.room().taken())
    }

    /// What is held for all clients.
    pub(crate) fn room(&self) -> &Room {
        &self.tokenizing.room
    }

    /// How urgent a request of so many texts is that doesn't say so.
    pub(crate) fn class_of(&self, inputs: usize) -> Class {
        if inputs > self.settings.interactive_inputs {
            Class::Bulk
        } else {
            Class::Interactive
        }
    }

    /// Whether one request may have so many texts.
    pub(crate) fn check_inputs(&self, inputs: usize) -> Result<(), ServiceError> {
        let most = self.settings.max_client_batch_size;
        if inputs > most {
            return Err(ServiceError::TooManyInputs { inputs, most });
        }
        Ok(())
    }

    /// Whether the memory for clients ever holds so many texts and their vectors, where there are
    /// more than usual.
    fn check_memory(&self, inputs: usize, vector: usize, texts: usize) -> Result<(), ServiceError> {
        let usual = self.settings.max_client_batch_size;
        let left = self.settings.max_queue_bytes.saturating_sub(texts);
        let most = usual.max(left / vector.max(1));
        if inputs > most {
            return Err(ServiceError::TooManyInputs { inputs, most });
        }
        Ok(())
    }

    /// How long a request has to wait by what is known now, and how long it may.
    fn wait(&self, class: Class, client: &Arc<str>) -> Result<(Duration, Duration), ServiceError> {
        let max_wait = self.settings.max_wait;
        let max_wait = max_wait - max_wait / MARGIN;
        let wait = self.scheduler.expected_wait(class, client);
        if wait > max_wait {
            return Err(ServiceError::Overloaded {
                retry_after: wait - max_wait,
            });
        }
        Ok((wait, max_wait))
    }

    /// Embeds a request's texts.
    ///
    /// When the future is dropped, what nobody else waits for isn't computed.
    ///
    /// # Errors
    /// When the request can't be fulfilled as it is, the server has too much to do or stops, or the
    /// model fails. One text that can't be embedded fails its request, and the error names it.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedAnswer, ServiceError> {
        let held = self.room().start();
        self.embed_within(request, &held, MostInputs::Setting).await
    }

    /// As [`Self::embed`], for a request of which `held` counts what is held already, and from now on
    /// what it and its answer take.
    pub(crate) async fn embed_within(
        &self,
        request: EmbedRequest,
        held: &Reserved,
        most: MostInputs,
    ) -> Result<EmbedAnswer, ServiceError> {
        self.in_time(request.deadline, |start, deadline| {
            self.answer(request, held, most, start, deadline)
        })
        .await
    }

    /// Answers a request, unless the server stops or its time is over.
    async fn in_time<T, F>(
        &self,
        deadline: Option<Instant>,
        answer: impl FnOnce(Instant, Option<Instant>) -> F,
    ) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let _running = match self.running.try_read() {
            Ok(running) if !self.is_draining() => running,
            _ => return Err(ServiceError::Stopped),
        };
        let start = Instant::now();
        let latest = start.checked_add(self.settings.request_timeout);
        let Some(deadline) = [latest, deadline].into_iter().flatten().min() else {
            return answer(start, None).await;
        };
        let answer = answer(start, Some(deadline));
        tokio::time::timeout_at(deadline.into(), answer)
            .await
            .unwrap_or(Err(ServiceError::DeadlineExceeded))
    }

    async fn answer(
        &self,
        request: EmbedRequest,
        held: &Reserved,
        most: MostInputs,
        start: Instant,
        deadline: Option<Instant>,
    ) -> Result<EmbedAnswer, ServiceError> {
        let EmbedRequest {
            model,
            inputs,
            options,
            class,
            client,
            deadline: _,
        } = request;
        if most == MostInputs::Setting {
            self.check_inputs(inputs.len())?;
        }
        let hold = |bytes, wait| hold(held, bytes, wait);
        // The model may have to be loaded first.
        hold(tokenize::bytes(&inputs, 0), RETRY_AFTER)?;
        let model = self.models.get(model.as_deref()).await?;
        model.embedder.check_embeds()?;
        let provenance = Arc::new(model.embedder.provenance(&options)?);
        let prompt = provenance.instruction.len();
        if prompt > MAX_PROMPT_BYTES {
            return Err(ServiceError::PromptTooLong {
                bytes: prompt,
                most: MAX_PROMPT_BYTES,
            });
        }

        let (wait, max_wait) = self.wait(class, &client)?;
        let vector = model.embedder.dimension().saturating_mul(BYTES_PER_VALUE);
        let vectors = inputs.len().saturating_mul(vector);
        let texts = tokenize::bytes(&inputs, prompt);
        self.check_memory(inputs.len(), vector, texts)?;
        hold(texts.saturating_add(vectors), wait)?;

        let texts = self
            .tokenizing
            .run(&model.embedder, inputs, &options, prompt, &client, held);
        let texts: Vec<Tokens> = texts.await?;
        let order = Order {
            group: provenance.instruction.as_str().into(),
            class,
            client,
            max_wait,
            deadline,
        };
        let computed = self.compute(&model, texts, order).await?;
        let embeddings = computed
            .texts()
            .enumerate()
            .map(|(index, (tokens, truncated, state))| {
                let values = model
                    .embedder
                    .finish(state, &options)
                    .map_err(|error| error.counted_from(index))?;
                Ok(Embedding {
                    values,
                    tokens,
                    truncated,
                })
            })
            .collect::<Result<_, ServiceError>>()?;
        Ok(EmbedAnswer {
            embeddings,
            total_tokens: computed.total_tokens(),
            provenance,
            timing: computed.timing(start),
        })
    }

    /// The states of tokenized texts, when it is their turn; those that are known aren't computed.
    async fn compute(
        &self,
        model: &Model,
        texts: Vec<Tokens>,
        order: Order,
    ) -> Result<Computed, ServiceError> {
        let tokenized = Instant::now();
        let seen: Vec<(usize, bool)> = texts.iter().map(|t| (t.ids.len(), t.truncated)).collect();
        let items: Vec<PassText> = texts.into_iter().map(Into::into).collect();
        let known = items
            .iter()
            .map(|text| self.scheduler.known(model.id, text));
        let known: Vec<Option<Arc<[f32]>>> = known.collect();
        record(model, &known, &seen);
        let work = Work {
            engine: model.id,
            items,
            known,
            group: order.group,
            class: order.class,
            client: order.client,
            max_wait: order.max_wait,
            deadline: order.deadline,
        };
        let Done { outputs, started } = self.scheduler.run(work).await?;
        Ok(Computed {
            seen,
            states: outputs,
            tokenized,
            started: started.unwrap_or(tokenized),
        })
    }
}

/// Who wants states computed, and until when.
struct Order {
    /// What stands before all of the texts.
    group: Arc<str>,
    class: Class,
    client: Arc<str>,
    max_wait: Duration,
    deadline: Option<Instant>,
}

/// The states of a request's texts.
struct Computed {
    /// Each text's tokens, and whether it was cut.
    seen: Vec<(usize, bool)>,
    states: Vec<Arc<[f32]>>,
    tokenized: Instant,
    started: Instant,
}

impl Computed {
    /// Each text's tokens, whether it was cut, and its state.
    fn texts(&self) -> impl Iterator<Item = (usize, bool, &Arc<[f32]>)> {
        let texts = self.seen.iter().zip(&self.states);
        texts.map(|(&(tokens, truncated), state)| (tokens, truncated, state))
    }

    fn total_tokens(&self) -> usize {
        self.seen.iter().map(|(tokens, _)| tokens).sum()
    }

    /// What took how long, of a request that came at `start` and is answered now.
    fn timing(&self, start: Instant) -> Timing {
        Timing {
            tokenize: self.tokenized - start,
            queue: self.started.saturating_duration_since(self.tokenized),
            compute: self.started.elapsed(),
        }
    }
}

/// Counts so many bytes as held for a request, in all.
fn hold(held: &Reserved, bytes: usize, wait: Duration) -> Result<(), ServiceError> {
    let no_room = ServiceError::NoRoom {
        needed: bytes,
        retry_after: wait.max(RETRY_AFTER),
    };
    held.reach(bytes).then_some(()).ok_or(no_room)
}

fn record(model: &Model, known: &[Option<Arc<[f32]>>], seen: &[(usize, bool)]) {
    let count = |name, count: usize| {
        counter!(name, "model" => Arc::clone(&model.name)).increment(count as u64);
    };
    let truncated = seen.iter().filter(|(_, truncated)| *truncated).count();
    count("akidb_truncated_texts_total", truncated);
    count("akidb_cached_texts_total", known.iter().flatten().count());
}

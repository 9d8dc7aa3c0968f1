//! One queue before all models: their passes share the cores, so they run one after the other.

mod fair;
mod pass;
mod queue;
#[cfg(test)]
mod queue_tests;
mod recent;
mod results;
mod speed;
mod warm_up;

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::sync::oneshot;

use akidb_embedding::{EmbedError, Embedder};

use super::error::ServiceError;
use super::request::Class;
pub use queue::ClassStats;
pub(crate) use queue::PassLimits;
use queue::{Pass, Queue};
use recent::Recent;
use results::Results;
pub(crate) use speed::Speed;

/// A text's hidden state.
pub(crate) type State = Arc<[f32]>;

/// What runs texts.
pub(crate) trait Engine: Debug + Send + Sync {
    /// The state of each text.
    fn states(&self, texts: &[&[u32]], instruction: &str) -> Result<Vec<State>, EmbedError>;
}

impl Engine for Embedder {
    fn states(&self, texts: &[&[u32]], instruction: &str) -> Result<Vec<State>, EmbedError> {
        let states = self.forward(texts, instruction)?;
        Ok((0..texts.len())
            .map(|index| states.row(index).into())
            .collect())
    }
}

/// Texts to compute, and for whom.
#[derive(Debug)]
pub(crate) struct Work {
    /// As [`Scheduler::add_model`] gave it.
    pub(crate) model: u64,
    pub(crate) texts: Vec<Arc<[u32]>>,
    /// The state of each text where it is known.
    pub(crate) known: Vec<Option<State>>,
    /// What they all start with.
    pub(crate) instruction: Arc<str>,
    pub(crate) class: Class,
    pub(crate) client: Arc<str>,
    /// Longest expected wait at which it is accepted.
    pub(crate) max_wait: Duration,
    /// When its states are of no use any more.
    pub(crate) deadline: Option<Instant>,
}

/// The states of a request's texts.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) states: Vec<State>,
    /// When its first pass began; `None` when all was known.
    pub(crate) started: Option<Instant>,
}

/// What the scheduler has to do and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScheduleStats {
    pub(crate) interactive: ClassStats,
    pub(crate) bulk: ClassStats,
    /// Computed in the last ten seconds.
    pub(crate) tokens_per_second: f64,
    pub(crate) cached_bytes: u64,
}

/// The queue and the thread that runs what waits in it.
#[derive(Debug)]
pub(crate) struct Scheduler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    work: Condvar,
    /// Held by the pass that runs.
    cores: Mutex<()>,
    results: Results,
}

#[derive(Debug)]
struct Board {
    queue: Queue,
    computed_tokens: Recent,
    stopped: bool,
}

impl Scheduler {
    pub(crate) fn start(limits: PassLimits, cache_bytes: usize) -> Result<Self, ServiceError> {
        let shared = Arc::new(Shared {
            board: Mutex::new(Board {
                queue: Queue::new(limits),
                computed_tokens: Recent::new(Instant::now()),
                stopped: false,
            }),
            work: Condvar::new(),
            cores: Mutex::new(()),
            results: Results::new(cache_bytes),
        });
        let worker = Worker(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("akidb-passes".to_owned())
            .spawn(move || worker.run())
            .map_err(|_| ServiceError::Stopped)?;
        Ok(Self(shared))
    }

    /// Makes a model known under the number that is given back.
    pub(crate) fn add_model(&self, name: Arc<str>, engine: Arc<dyn Engine>, speed: Speed) -> u64 {
        self.0.board().queue.add_model(name, engine, speed)
    }

    /// Forgets a model that no request uses.
    pub(crate) fn remove_model(&self, model: u64) {
        self.0.board().queue.remove_model(model);
    }

    /// Runs a model for the first time and times it, while no pass runs.
    pub(crate) fn warm_up(&self, embedder: &Embedder) -> Result<Speed, EmbedError> {
        warm_up::warm_up(embedder, &self.0.cores)
    }

    /// The state of a text that was computed before.
    pub(crate) fn known(&self, model: u64, ids: &Arc<[u32]>) -> Option<State> {
        self.0.results.get(model, ids)
    }

    /// Waits for a request's states. What it alone waits for isn't computed when the future is
    /// dropped before.
    pub(crate) async fn run(&self, work: Work) -> Result<Done, ServiceError> {
        let (answer, done) = oneshot::channel();
        let request = {
            let mut board = self.0.board();
            if board.stopped {
                return Err(ServiceError::Stopped);
            }
            board.queue.submit(work, answer, Instant::now())?
        };
        self.0.work.notify_one();
        let _cancel = Cancel(&self.0, request);
        done.await.map_err(|_| ServiceError::Stopped)?
    }

    /// How long a client's next text would wait.
    pub(crate) fn expected_wait(&self, class: Class, client: &str) -> Duration {
        let board = self.0.board();
        let nothing = Duration::ZERO;
        board
            .queue
            .expected_wait(class, client, nothing, Instant::now())
    }

    pub(crate) fn stats(&self) -> ScheduleStats {
        let board = self.0.board();
        let now = Instant::now();
        ScheduleStats {
            interactive: board.queue.stats(Class::Interactive, now),
            bulk: board.queue.stats(Class::Bulk, now),
            tokens_per_second: board.computed_tokens.per_second(now),
            cached_bytes: self.0.results.bytes(),
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.0.board().stopped = true;
        self.0.work.notify_all();
    }
}

/// Forgets a request when its caller does.
struct Cancel<'a>(&'a Shared, u64);

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        let Self(shared, request) = self;
        shared.board().queue.cancel(*request);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next pass; `None` when there will be none.
    fn next(&self) -> Option<Pass> {
        let mut board = self.board();
        loop {
            if board.stopped {
                return None;
            }
            let now = Instant::now();
            if let Some(pass) = board.queue.take(now) {
                let waiting = board.queue.queued_tokens(pass.model);
                drop(board);
                taken(&pass, waiting, now);
                return Some(pass);
            }
            let waited = self.work.wait(board);
            board = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, pass: &Pass) {
        let alone = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let results = pass::run(pass);
        let took = started.elapsed();
        drop(alone);
        for (text, result) in pass.texts.iter().zip(&results) {
            if let Ok(state) = result {
                self.results.keep(pass.model, &text.ids, state);
            }
        }
        let answers = {
            let mut board = self.board();
            board.computed_tokens.add(pass.tokens, started + took);
            board.queue.finish(pass, results, took)
        };
        for answer in answers {
            answer.send();
        }
        let name = Arc::clone(&pass.name);
        histogram!("akidb_batch_duration_seconds", "model" => name).record(took);
    }
}

fn taken(pass: &Pass, waiting: usize, now: Instant) {
    let class = pass.class.as_str();
    let name = || Arc::clone(&pass.name);
    let waits = histogram!("akidb_queue_wait_seconds", "model" => name(), "class" => class);
    for text in &pass.texts {
        waits.record(now.saturating_duration_since(text.arrived));
    }
    gauge!("akidb_queue_tokens", "model" => name()).set(waiting as f64);
    histogram!("akidb_batch_tokens", "model" => name()).record(pass.tokens as f64);
    counter!("akidb_tokens_total", "model" => name()).increment(pass.tokens as u64);
    counter!("akidb_texts_total", "model" => name()).increment(pass.texts.len() as u64);
}

/// The thread's side.
struct Worker(Arc<Shared>);

impl Worker {
    fn run(&self) {
        while let Some(pass) = self.0.next() {
            self.0.run(&pass);
        }
    }
}

impl Drop for Worker {
    /// Whatever ended the thread: nobody waits for it for ever.
    fn drop(&mut self) {
        let answers = {
            let mut board = self.0.board();
            board.stopped = true;
            board.queue.abandon()
        };
        for answer in answers {
            answer.send();
        }
    }
}

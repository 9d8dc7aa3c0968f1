//! What goes in and what comes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::Engine;

/// Which engine, as [`Scheduler::add_engine`](crate::Scheduler::add_engine) gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EngineId(pub(crate) u64);

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// Somebody waits: goes before bulk work.
    #[default]
    Interactive,
    /// Throughput counts, not latency.
    Bulk,
}

impl Class {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

/// Items to compute, and for whom.
#[derive(Debug)]
pub struct Work<E: Engine> {
    /// What computes them.
    pub engine: EngineId,
    /// The items; those that are equal are computed once.
    pub items: Vec<E::Item>,
    /// The output of each item where it is known.
    pub known: Vec<Option<E::Output>>,
    /// What they have in common.
    pub group: E::Group,
    /// How urgent they are.
    pub class: Class,
    /// Who asks: clients of one class get equal shares.
    pub client: Arc<str>,
    /// Longest expected wait at which the request is accepted.
    pub max_wait: Duration,
    /// When the outputs are of no use any more.
    pub deadline: Option<Instant>,
}

/// The outputs of a request's items.
#[derive(Debug)]
pub struct Done<E: Engine> {
    /// One for each item, in order.
    pub outputs: Vec<E::Output>,
    /// When the first pass began; `None` when all was known.
    pub started: Option<Instant>,
}

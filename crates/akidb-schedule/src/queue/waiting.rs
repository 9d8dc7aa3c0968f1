//! What waits: items, those who wait for them, and what they are given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::error::ScheduleError;
use crate::fair::{ItemId, Price, RequestId};
use crate::request::{Class, Done, EngineId};

pub(super) type Sender<E> = oneshot::Sender<Result<Done<E>, ScheduleError<<E as Engine>::Error>>>;

/// What items of one pass have in common.
pub(super) type PassGroup<E> = (EngineId, <E as Engine>::Group);

#[derive(Debug)]
pub(super) struct Entry<E: Engine> {
    pub(super) group: PassGroup<E>,
    pub(super) item: E::Item,
    pub(super) price: Price,
    pub(super) arrived: Instant,
    pub(super) class: Class,
    pub(super) running: bool,
    pub(super) waiters: Vec<Waiter>,
    /// Waiters whose request isn't gone.
    pub(super) wanted: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    /// Which of the request's distinct items it is.
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct Request<E: Engine> {
    pub(super) answer: Sender<E>,
    pub(super) class: Class,
    pub(super) client: Arc<str>,
    /// Those that it waits for, each once.
    pub(super) items: Vec<ItemId>,
    /// Of each distinct item.
    pub(super) outputs: Vec<Option<E::Output>>,
    pub(super) missing: usize,
    /// For each of its items, which of the distinct ones it is.
    pub(super) rows: Vec<usize>,
    pub(super) started: Option<Instant>,
}

impl<E: Engine> Request<E> {
    /// The answer, when no output is missing.
    pub(super) fn done(self) -> Answer<E> {
        let outputs = self.rows.iter();
        let outputs = outputs.filter_map(|row| self.outputs.get(*row)?.clone());
        Answer {
            result: Ok(Done {
                outputs: outputs.collect(),
                started: self.started,
            }),
            to: self.answer,
        }
    }

    pub(super) fn failed(self, error: ScheduleError<E::Error>) -> Answer<E> {
        Answer {
            to: self.answer,
            result: Err(error),
        }
    }
}

/// Items to run at once.
#[derive(Debug)]
pub(crate) struct Pass<E: Engine> {
    pub(crate) id: EngineId,
    pub(crate) name: Arc<str>,
    pub(crate) engine: Arc<E>,
    pub(crate) group: E::Group,
    pub(crate) class: Class,
    pub(crate) items: Vec<E::Item>,
    /// Of each item.
    pub(super) entries: Vec<ItemId>,
    /// How long each item has waited.
    pub(crate) waited: Vec<Duration>,
    pub(crate) tokens: usize,
    pub(super) cost: u64,
}

/// An answer and where it goes.
#[derive(Debug)]
pub(crate) struct Answer<E: Engine> {
    pub(super) to: Sender<E>,
    pub(super) result: Result<Done<E>, ScheduleError<E::Error>>,
}

impl<E: Engine> Answer<E> {
    pub(crate) fn send(self) {
        // The caller may have gone in the meantime.
        let _ = self.to.send(self.result);
    }
}

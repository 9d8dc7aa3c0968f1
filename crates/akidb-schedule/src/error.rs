//! Why a request has no outputs.

use std::sync::Arc;
use std::time::Duration;

/// Why a request has no outputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError<E> {
    /// The engine failed on one of the items.
    #[error("the item at index {index} failed")]
    Failed {
        /// Position in the request, from 0.
        index: usize,
        /// Why.
        source: Arc<E>,
    },
    /// The engine has a fault that shows on one of the items.
    #[error("the item at index {index} failed unexpectedly: {message}")]
    Panicked {
        /// Position in the request, from 0.
        index: usize,
        /// What was said of it.
        message: Arc<str>,
    },
    /// The queue is longer than this request would wait.
    #[error("there is too much to do: try again in {} s", retry_after.as_secs().max(1))]
    Overloaded {
        /// When there should be room.
        retry_after: Duration,
    },
    /// The outputs would come too late.
    #[error("the outputs would come after the deadline")]
    DeadlineExceeded,
    /// The scheduler is dropped, its thread has ended, or the engine was removed.
    #[error("the scheduler has stopped")]
    Stopped,
}

/// What went wrong with an item of a pass, whoever waits for it.
#[derive(Debug)]
pub(crate) enum Fault<E> {
    Failed(Arc<E>),
    Panicked(Arc<str>),
}

impl<E> Clone for Fault<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(source) => Self::Failed(Arc::clone(source)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
        }
    }
}

impl<E> Fault<E> {
    /// For the request in which the item has this position.
    pub(crate) fn at(&self, index: usize) -> ScheduleError<E> {
        match self {
            Self::Failed(source) => ScheduleError::Failed {
                index,
                source: Arc::clone(source),
            },
            Self::Panicked(message) => ScheduleError::Panicked {
                index,
                message: Arc::clone(message),
            },
        }
    }
}

//! Why a request has no answer.

use std::sync::Arc;
use std::time::Duration;

use akidb_embedding::EmbedError;
use akidb_schedule::ScheduleError;

use crate::room::{NoRoom, RETRY_AFTER};

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The server has no such model.
    #[error("there is no model {model:?}: this server has {}", known.join(", "))]
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model doesn't load.
    #[error("the model {model} can't be loaded")]
    Load {
        /// Its name.
        model: String,
        /// Why.
        source: Arc<EmbedError>,
    },
    /// The texts or options don't fit the model, or the model fails on them.
    #[error(transparent)]
    Embed(Arc<EmbedError>),
    /// The model's code has a fault.
    #[error("the model failed unexpectedly: {message}")]
    Panicked {
        /// What was said of it.
        message: Arc<str>,
    },
    /// More texts than one request may have.
    #[error("{inputs} inputs are more than the {most} that one request may have")]
    TooManyInputs {
        /// How many there are.
        inputs: usize,
        /// How many there may be.
        most: usize,
    },
    /// More than one request of its kind may have.
    #[error("the request has {has} {what}: at most {most} are taken at a time")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much it has.
        has: usize,
        /// How much it may have.
        most: usize,
    },
    /// An instruction that is longer than texts usually are.
    #[error(
        "the instruction and what is around it have {bytes} bytes: at most {most} stand before a text"
    )]
    PromptTooLong {
        /// What it has.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// The queue is longer than callers are made to wait.
    #[error("the server has too much to do: try again in {} s", retry_after.as_secs().max(1))]
    Overloaded {
        /// When there should be room.
        retry_after: Duration,
    },
    /// Others' requests leave no room in memory for this one.
    #[error("the server holds too much for its clients: try again in {} s", retry_after.as_secs().max(1))]
    NoRoom {
        /// Bytes that it needs.
        needed: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The answer would come too late.
    #[error("the answer would come after the request's deadline")]
    DeadlineExceeded,
    /// The server is stopping, or the thread that does the work has ended.
    #[error("the server is stopping")]
    Stopped,
}

impl From<NoRoom> for ServiceError {
    fn from(NoRoom { needed }: NoRoom) -> Self {
        Self::NoRoom {
            needed,
            retry_after: RETRY_AFTER,
        }
    }
}

impl From<EmbedError> for ServiceError {
    fn from(error: EmbedError) -> Self {
        Self::Embed(Arc::new(error))
    }
}

impl From<ScheduleError<EmbedError>> for ServiceError {
    fn from(error: ScheduleError<EmbedError>) -> Self {
        match error {
            ScheduleError::Failed { source, .. } => Self::Embed(source),
            ScheduleError::Panicked { message, .. } => Self::Panicked { message },
            ScheduleError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            ScheduleError::DeadlineExceeded => Self::DeadlineExceeded,
            _ => Self::Stopped,
        }
    }
}

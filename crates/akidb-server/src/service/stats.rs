//! What the service has to do and does, in numbers.

use akidb_schedule::{ClassStats, ScheduleStats};

use super::models::{ModelStatus, Models};

/// What the service has to do and does.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// What waits for interactive requests.
    pub interactive: ClassStats,
    /// What waits for bulk requests alone.
    pub bulk: ClassStats,
    /// Tokens computed a second, over the last ten seconds.
    pub tokens_per_second: f64,
    /// Bytes held for clients: requests, texts, vectors, and answers until they are sent.
    pub queue_bytes: usize,
    /// Bytes of vectors that are kept for texts that may come again.
    pub cached_bytes: u64,
    /// The models, the default one first.
    pub models: Vec<ModelStatus>,
}

impl Stats {
    pub(super) fn new(schedule: ScheduleStats, models: &Models, queue_bytes: usize) -> Self {
        Self {
            interactive: schedule.interactive,
            bulk: schedule.bulk,
            tokens_per_second: schedule.tokens_per_second,
            queue_bytes,
            cached_bytes: schedule.cached_bytes,
            models: models.status(),
        }
    }
}

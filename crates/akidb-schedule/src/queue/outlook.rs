//! What waits, and how long that takes.

use std::time::{Duration, Instant};

use super::{BULK_SHARE, Queue};
use crate::engine::Engine;
use crate::request::Class;

/// What waits and how long that takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Different items that wait.
    pub items: usize,
    /// Their tokens.
    pub tokens: usize,
    /// How long an item that comes now waits.
    pub wait: Duration,
}

impl<E: Engine> Queue<E> {
    /// How long it takes until further items of a client, `time` long, have had their turn; their
    /// own time not counted.
    pub(crate) fn expected_wait(
        &self,
        class: Class,
        client: &str,
        time: Duration,
        now: Instant,
    ) -> Duration {
        let running = self.running_for(now);
        running
            + match class {
                Class::Interactive => self.with_bulk(self.interactive.wait(client, time)),
                Class::Bulk => self.interactive.backlog() + self.bulk.wait(client, time),
            }
    }

    fn running_for(&self, now: Instant) -> Duration {
        self.busy_until
            .map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    /// Interactive time, and what bulk work gets meanwhile.
    fn with_bulk(&self, interactive: Duration) -> Duration {
        interactive + self.bulk.backlog().min(interactive / (BULK_SHARE - 1))
    }

    pub(crate) fn stats(&self, class: Class, now: Instant) -> ClassStats {
        let waiting = self.entries.values();
        let waiting = waiting.filter(|entry| !entry.running && entry.class == class);
        let (items, tokens) = waiting.fold((0, 0), |(items, tokens), entry| {
            (items + 1, tokens + E::tokens(&entry.item))
        });
        let backlog = match class {
            Class::Interactive => self.with_bulk(self.interactive.backlog()),
            Class::Bulk => self.interactive.backlog() + self.bulk.backlog(),
        };
        ClassStats {
            items,
            tokens,
            wait: self.running_for(now) + backlog,
        }
    }

    /// Tokens of the items that wait for engines of that name.
    pub(crate) fn queued_tokens(&self, name: &str) -> usize {
        let engines = self.engines.values().filter(|engine| &*engine.name == name);
        engines.map(|engine| engine.queued_tokens).sum()
    }
}

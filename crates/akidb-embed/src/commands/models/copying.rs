//! How far reading or copying a model's files has come.

use std::time::Instant;

use indicatif::ProgressBar;

use super::{INTERVAL, SMALLEST_BAR, bar_style, bytes};
use crate::message::{is_watched, message};

/// A bar on a terminal, a line now and then elsewhere.
pub(super) struct Copying {
    what: String,
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
    told: Instant,
}

impl Copying {
    /// `what` is in progress, which takes `total` bytes.
    pub(super) fn new(what: String, total: u64) -> Self {
        // Less is over before a bar is read.
        let terminal = is_watched() && total >= SMALLEST_BAR;
        let bar = terminal.then(|| {
            let bar = ProgressBar::new(total).with_style(bar_style());
            bar.with_message(what.clone())
        });
        Self {
            what,
            bar,
            done: 0,
            total,
            told: Instant::now(),
        }
    }

    /// So many bytes more are done.
    pub(super) fn advance(&mut self, more: u64) {
        self.done = self.done.saturating_add(more);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.told.elapsed() >= INTERVAL {
            self.told = Instant::now();
            let (done, total) = (bytes(self.done), bytes(self.total));
            message(format_args!("{}: {done} of {total}", self.what));
        }
    }
}

impl Drop for Copying {
    /// Takes the bar away, also when the work has failed.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

//! How far a long run has come.

use std::time::{Duration, Instant};

use akidb_bulk::Summary;
use indicatif::{ProgressBar, ProgressStyle};

use crate::message::is_watched;

/// Shorter work needs no bar.
const SHORT: Duration = Duration::from_millis(500);

/// A bar on a terminal; nothing elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    bytes: Option<u64>,
    started: Instant,
}

impl Progress {
    /// Counts bytes of the input where their total is known, else texts.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        Self {
            bar: None,
            bytes,
            started: Instant::now(),
        }
    }

    pub(super) fn update(&mut self, done: &Summary, position: u64) {
        if self.bar.is_none() && is_watched() && self.started.elapsed() >= SHORT {
            self.bar = Some(bar(self.bytes));
        }
        let Some(bar) = &self.bar else {
            return;
        };
        if self.bytes.is_some() {
            bar.set_position(position);
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!(
            "{} texts, {:.0} tokens/s",
            done.embedded,
            done.tokens as f64 / seconds
        ));
    }

    /// Does what writes lines where the bar stands.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:32} {percent:>3}%  {msg}  {elapsed} elapsed, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {msg}  {elapsed} elapsed",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

//! How far a long run has come.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal; nothing elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    bytes: bool,
}

impl Progress {
    /// Counts bytes of the input where their total is known, else texts.
    pub(crate) fn new(total_bytes: Option<u64>) -> Self {
        let (bar, template) = match total_bytes {
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
        Self {
            bar,
            bytes: total_bytes.is_some(),
        }
    }

    pub(crate) fn update(&self, bytes: u64, texts: usize, tokens: usize) {
        if self.bytes {
            self.bar.set_position(bytes);
        }
        let seconds = self.bar.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!(
            "{texts} texts, {:.0} tokens/s",
            tokens as f64 / seconds
        ));
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

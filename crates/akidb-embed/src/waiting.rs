//! That something takes a while.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::message::is_watched;

/// A word on a terminal, until it is dropped; nothing elsewhere.
pub(crate) struct Waiting(Option<ProgressBar>);

impl Waiting {
    pub(crate) fn new(what: &'static str) -> Self {
        Self(is_watched().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar.with_message(what)
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

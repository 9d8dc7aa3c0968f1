//! How far the work on a corpus is, and whether it is to end.

use std::sync::atomic::{AtomicBool, Ordering};

use akidb_bulk::corpus::{CorpusListener, Outcome, Unit};
use pyo3::prelude::*;

use crate::signals::Signals;

/// Looks for signals, and tells Python how far the work is.
pub(crate) struct Watch<'a> {
    signals: Signals,
    progress: Option<Py<PyAny>>,
    stop: &'a AtomicBool,
    /// What a signal's handler, or `progress`, has raised.
    stopped_by: Option<PyErr>,
    /// Parts of texts are computed, which are no rows.
    is_split: bool,
    sums: Sums,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    /// Rows of units that were there.
    there: u64,
    /// Rows of units that were written.
    written: u64,
    /// Texts that were computed, of units that aren't whole, too.
    texts: u64,
    tokens: u64,
    errors: u64,
}

impl<'a> Watch<'a> {
    /// `stop` is set when the work is to end; with `is_split`, what is computed is parts of texts.
    pub(crate) fn new(progress: Option<Py<PyAny>>, stop: &'a AtomicBool, is_split: bool) -> Self {
        Self {
            signals: Signals::new(),
            progress,
            stop,
            stopped_by: None,
            is_split,
            sums: Sums::default(),
        }
    }

    fn look(&mut self) {
        if self.stopped_by.is_some() {
            return;
        }
        let looked = self.signals.check().and_then(|was_time| match was_time {
            true => self.tell(),
            false => Ok(()),
        });
        if let Err(error) = looked {
            self.stopped_by = Some(error);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn tell(&self) -> PyResult<()> {
        let Some(progress) = &self.progress else {
            return Ok(());
        };
        let Sums { tokens, errors, .. } = self.sums;
        let texts = if self.is_split { 0 } else { self.sums.texts };
        let rows = self.sums.there + self.sums.written.max(texts);
        Python::attach(|py| progress.call1(py, (rows, tokens, errors)).map(drop))
    }

    /// Tells the last sums, and gives what has ended the work.
    pub(crate) fn end(self) -> Option<PyErr> {
        let told = self.tell().err();
        self.stopped_by.or(told)
    }
}

impl CorpusListener for Watch<'_> {
    fn passed(&mut self, texts: u64, tokens: u64) {
        self.sums.texts += texts;
        self.sums.tokens += tokens;
        self.look();
    }

    fn unit(&mut self, unit: &Unit, outcome: &Outcome) {
        match outcome {
            Outcome::Written(summary) => {
                self.sums.written += unit.rows;
                self.sums.errors += summary.errors;
            }
            Outcome::AlreadyThere => self.sums.there += unit.rows,
            Outcome::Held => {}
        }
        self.look();
    }

    fn waiting(&mut self, _: usize) {
        self.look();
    }
}

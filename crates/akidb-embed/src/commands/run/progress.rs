//! How far the work is.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use akidb_bulk::corpus::{CorpusListener, Outcome, Unit, UnitSummary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::figures::{counted, grouped};
use crate::message::{failure, is_watched, message};

/// Between two lines of `--log-json`.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shorter work needs no bar.
const SHORT: Duration = Duration::from_millis(500);

/// What this process has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Of the units that it has written.
    pub(super) summary: UnitSummary,
    pub(super) units_written: u64,
    pub(super) units_there: u64,
    pub(super) rows_there: u64,
}

/// A bar on a terminal, or lines for machines.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    log_json: bool,
    started: Instant,
    logged: Instant,
    rows: u64,
    units: u64,
    /// Texts and tokens that were computed, of units that are not whole too.
    texts: u64,
    tokens: u64,
    done: Done,
    /// Units that were told of.
    told: HashSet<String>,
}

impl Progress {
    pub(super) fn new(units: &[Unit], log_json: bool) -> Self {
        Self {
            bar: None,
            log_json,
            started: Instant::now(),
            logged: Instant::now(),
            rows: units.iter().map(|unit| unit.rows).sum(),
            units: units.len() as u64,
            texts: 0,
            tokens: 0,
            done: Done::default(),
            told: HashSet::new(),
        }
    }

    pub(super) fn finish(self) -> Done {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.done
    }

    fn show(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let (tokens, texts) = (self.tokens as f64 / seconds, self.texts as f64 / seconds);
        if self.log_json && self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            failure(format_args!(
                "{}",
                json!({
                    "event": "progress",
                    "rows": self.rows,
                    "rows_there": self.done.rows_there + self.texts,
                    "errors": self.done.summary.errors,
                    "tokens_per_second": tokens.round(),
                    "rows_per_second": texts.round(),
                })
            ));
        }
        if self.bar.is_none() && !self.log_json && is_watched() && self.started.elapsed() >= SHORT {
            self.bar = Some(bar(self.rows.saturating_sub(self.done.rows_there)));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.texts);
            let errors = match self.done.summary.errors {
                0 => String::new(),
                errors => format!(", {}", counted(errors, "error")),
            };
            bar.set_message(format!(
                "{} rows, {} tokens/s, {} rows/s{errors}",
                grouped(self.done.rows_there + self.texts),
                grouped(tokens as u64),
                grouped(texts as u64),
            ));
        }
    }
}

impl CorpusListener for Progress {
    fn passed(&mut self, texts: u64, tokens: u64) {
        self.texts += texts;
        self.tokens += tokens;
        self.show();
    }

    fn unit(&mut self, unit: &Unit, outcome: &Outcome) {
        let event = match outcome {
            Outcome::Written(summary) => {
                self.done.summary.add(summary);
                self.done.units_written += 1;
                "written"
            }
            Outcome::AlreadyThere => {
                self.done.units_there += 1;
                self.done.rows_there += unit.rows;
                "there"
            }
            Outcome::Held => "held",
        };
        // What others have is told once.
        let told = !self.told.insert(unit.name.clone());
        if self.log_json && !(told && *outcome == Outcome::Held) {
            failure(format_args!(
                "{}",
                json!({
                    "event": event,
                    "unit": unit.name,
                    "rows": unit.rows,
                    "units": self.units,
                    "units_there": self.done.units_written + self.done.units_there,
                    "errors": self.done.summary.errors,
                })
            ));
        }
        self.show();
    }

    fn waiting(&mut self, units: usize) {
        let line = format!(
            "waiting for {} that other processes work on",
            counted(units as u64, "unit")
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| message(format_args!("{line}"))),
            None => message(format_args!("{line}")),
        }
    }
}

fn bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    let template = "{bar:32} {percent:>3}%  {msg}  {elapsed} elapsed, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

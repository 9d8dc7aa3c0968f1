//! How a pull tells how far it has come.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use akidb_models::{Event, RepoPath};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::bytes;
use crate::message::message;

/// How often a line is written where no terminal is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Smaller files are over before their bar is read.
const SMALLEST_BAR: u64 = 1_000_000;

/// Bars on a terminal, lines elsewhere.
pub(super) struct Fetching {
    state: Mutex<State>,
}

struct State {
    /// On a terminal.
    bars: Option<MultiProgress>,
    total: Option<ProgressBar>,
    files: BTreeMap<RepoPath, File>,
    all: u64,
    /// Bytes that are here, of all files.
    here: u64,
    /// Bytes that the network brought.
    fetched: u64,
    started: Instant,
    told: Instant,
}

struct File {
    bar: Option<ProgressBar>,
    here: u64,
}

impl Fetching {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            state: Mutex::new(State {
                bars: terminal.then(MultiProgress::new),
                total: None,
                files: BTreeMap::new(),
                all: 0,
                here: 0,
                fetched: 0,
                started: Instant::now(),
                told: Instant::now(),
            }),
        }
    }

    pub(super) fn tell(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tell(event);
    }

    /// Takes the bars away.
    pub(super) fn finish(self) {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bars) = state.bars {
            // Where that fails there is nobody to see them.
            let _ = bars.clear();
        }
    }
}

impl State {
    fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Waiting => self.line("another process changes this model: waiting for it"),
            Event::Chosen {
                variant,
                why,
                files,
                bytes: all,
            } => {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let size = bytes(all);
                self.line(&format!("variant {variant}{why} ({files} files, {size})"));
                self.all = all;
                self.started = Instant::now();
                self.total = self.bar("total", all);
            }
            Event::Checking { file, size } if size >= SMALLEST_BAR => {
                self.line(&format!("{file} is here: comparing its checksum"));
            }
            Event::Started {
                file,
                size,
                already,
            } => {
                if size >= SMALLEST_BAR {
                    let from = match already {
                        0 => String::new(),
                        n => format!(", from byte {n} on"),
                    };
                    self.plain(&format!("fetching {file} ({}{from})", bytes(size)));
                }
                if !self.files.contains_key(file) {
                    let bar = (size >= SMALLEST_BAR).then(|| self.bar(file.as_str(), size));
                    let bar = bar.flatten();
                    self.files.insert(file.clone(), File { bar, here: 0 });
                }
                let before = self.files.get(file).map_or(0, |f| f.here);
                self.here = self.here.saturating_sub(before);
                self.arrived(file, already, true);
            }
            Event::Arrived { file, bytes } => {
                self.fetched = self.fetched.saturating_add(bytes);
                self.arrived(file, bytes, false);
            }
            Event::Again { file, why, pause } => {
                let when = match pause.as_secs_f32() {
                    0.0 => String::new(),
                    seconds => format!(" in {seconds:.1} s"),
                };
                self.line(&format!("{file}: {why}; trying again{when}"));
            }
            Event::Done { file, size } => match self.files.get(file) {
                Some(File { bar: Some(bar), .. }) => bar.finish(),
                Some(_) => {}
                None => {
                    self.here = self.here.saturating_add(size);
                    self.show_total();
                }
            },
            _ => {}
        }
    }

    fn arrived(&mut self, file: &RepoPath, bytes: u64, anew: bool) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        entry.here = if anew {
            bytes
        } else {
            entry.here.saturating_add(bytes)
        };
        if let Some(bar) = &entry.bar {
            bar.set_position(entry.here);
        }
        self.here = self.here.saturating_add(bytes);
        self.show_total();
    }

    fn show_total(&mut self) {
        if let Some(total) = &self.total {
            total.set_position(self.here);
            return;
        }
        if self.bars.is_some() || self.told.elapsed() < INTERVAL {
            return;
        }
        self.told = Instant::now();
        let rate = self.fetched as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let left = self.all.saturating_sub(self.here) as f64 / rate.max(1.0);
        let (here, all) = (bytes(self.here), bytes(self.all));
        let rate = bytes(rate as u64);
        self.plain(&format!("{here} of {all}, {rate}/s, {left:.0} s left"));
    }

    fn bar(&self, name: &str, size: u64) -> Option<ProgressBar> {
        let bar = self.bars.as_ref()?.add(ProgressBar::new(size));
        let template = "{bar:24} {percent:>3}%  {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec:>11}, {eta:>3} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        Some(bar)
    }

    /// On a terminal too, above the bars.
    fn line(&self, line: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(line)),
            None => message(format_args!("{line}")),
        }
    }

    /// Where the bars don't say it.
    fn plain(&self, line: &str) {
        if self.bars.is_none() {
            message(format_args!("{line}"));
        }
    }
}

//! How a pull tells how far it has come.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use akidb_models::{Event, RepoPath};
use indicatif::{MultiProgress, ProgressBar};

use super::{INTERVAL, SMALLEST_BAR, bar_style, bytes};
use crate::message::{is_watched, message};

/// Bars on a terminal, lines elsewhere.
pub(super) struct Fetching {
    state: Mutex<State>,
}

struct State {
    /// On a terminal.
    bars: Option<MultiProgress>,
    total: Option<ProgressBar>,
    files: BTreeMap<RepoPath, File>,
    /// Bytes of all files; 0 before they are known.
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
        let terminal = is_watched();
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
            Event::Checking { file, size } => {
                if size >= SMALLEST_BAR {
                    self.plain(&format!("{file} is here: comparing its checksum"));
                }
                self.begin(file, size, 0);
            }
            Event::Read { file, bytes } => self.more(file, bytes),
            Event::Started {
                file,
                size,
                already,
            } => {
                if size >= SMALLEST_BAR {
                    let from = match already {
                        0 => String::new(),
                        all if all == size => ", all of it is here".to_owned(),
                        n => format!(", from byte {n} on"),
                    };
                    self.plain(&format!("fetching {file} ({}{from})", bytes(size)));
                }
                self.begin(file, size, already);
            }
            Event::Arrived { file, bytes } => {
                self.fetched = self.fetched.saturating_add(bytes);
                self.more(file, bytes);
            }
            Event::Again { what, why, pause } => {
                let when = match pause.as_secs_f32() {
                    0.0 => String::new(),
                    seconds => format!(" in {seconds:.1} s"),
                };
                self.line(&format!("{what}: {why}; trying again{when}"));
            }
            Event::Done { file, size } => {
                self.begin(file, size, size);
                if let Some(File { bar: Some(bar), .. }) = self.files.get(file) {
                    bar.finish();
                }
            }
            _ => {}
        }
    }

    /// So much of the file is here, whatever was told of it before.
    fn begin(&mut self, file: &RepoPath, size: u64, here: u64) {
        if !self.files.contains_key(file) {
            let bar = (size >= SMALLEST_BAR).then(|| self.bar(file.as_str(), size));
            let bar = bar.flatten();
            self.files.insert(file.clone(), File { bar, here: 0 });
        }
        if let Some(entry) = self.files.get_mut(file) {
            self.here = self.here.saturating_sub(entry.here);
            entry.here = 0;
        }
        self.more(file, here);
    }

    fn more(&mut self, file: &RepoPath, bytes: u64) {
        let Some(entry) = self.files.get_mut(file) else {
            return;
        };
        entry.here = entry.here.saturating_add(bytes);
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
        let (here, all) = (bytes(self.here), bytes(self.all));
        if self.all == 0 {
            return self.plain(&format!("{here} read"));
        }
        if self.fetched == 0 {
            return self.plain(&format!("{here} of {all}"));
        }
        let rate = self.fetched as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let left = self.all.saturating_sub(self.here) as f64 / rate.max(1.0);
        let rate = bytes(rate as u64);
        self.plain(&format!("{here} of {all}, {rate}/s, {left:.0} s left"));
    }

    fn bar(&self, name: &str, size: u64) -> Option<ProgressBar> {
        let bar = ProgressBar::new(size).with_style(bar_style());
        let bar = bar.with_message(name.to_owned());
        Some(self.bars.as_ref()?.add(bar))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_counted_once_however_often_it_is_told() {
        let fetching = Fetching::new();
        let file = "model.onnx".parse().unwrap();
        let here = || fetching.state.lock().unwrap().here;
        let (size, file) = (100, &file);
        fetching.tell(Event::Checking { file, size });
        fetching.tell(Event::Read { file, bytes: 60 });
        assert_eq!(here(), 60);
        // It is damaged, and fetched from the start, in part again.
        let already = 0;
        for _ in 0..2 {
            fetching.tell(Event::Started {
                file,
                size,
                already,
            });
            assert_eq!(here(), 0);
            fetching.tell(Event::Arrived { file, bytes: 70 });
        }
        assert_eq!(here(), 70);
        fetching.tell(Event::Done { file, size });
        fetching.tell(Event::Done { file, size });
        assert_eq!(here(), 100);
    }
}

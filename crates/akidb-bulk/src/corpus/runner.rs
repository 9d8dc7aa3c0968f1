//! Units, read, computed and written at the same time.

use std::collections::HashSet;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use akidb_embedding::{EmbedOptions, Embedder, Provenance};

use super::chunk::Splitter;
use super::claims::{Attempt, Claim};
use super::error::CorpusError;
use super::folder::Folder;
use super::log::Event;
use super::plan::{Plan, Unit};
use super::source::{MOST_BYTES, UnitReader};
use super::unit_file::{UnitFile, UnitSchema, UnitSummary};
use super::url::url_of;
use super::window::{Answer, Reading, WINDOW_ROWS, Window};

/// How long to wait before units that others have are looked at again.
const WAIT: Duration = Duration::from_millis(500);

/// Windows that are there at once: one is read, one waits, one is computed, one waits, one is written.
const WINDOWS_HELD: u64 = 5;

/// What came of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was computed, and is there.
    Written(UnitSummary),
    /// It was there.
    AlreadyThere,
    /// Another process works on it.
    Held,
}

/// Hears how the work goes.
pub trait CorpusListener {
    /// A pass has been computed.
    fn passed(&mut self, texts: u64, tokens: u64);

    /// This is what came of a unit.
    fn unit(&mut self, unit: &Unit, outcome: &Outcome);

    /// Nothing is left but units that others work on.
    fn waiting(&mut self, units: usize);
}

/// Hears nothing.
impl CorpusListener for super::super::NoListener {
    fn passed(&mut self, _: u64, _: u64) {}

    fn unit(&mut self, _: &Unit, _: &Outcome) {}

    fn waiting(&mut self, _: usize) {}
}

/// Whether all was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every unit is there.
    Done,
    /// It was stopped; whole units are there.
    Stopped,
}

/// Embeds units of a plan into a folder.
pub struct Runner<'a> {
    embedder: &'a Embedder,
    options: &'a EmbedOptions,
    plan: &'a Plan,
    folder: &'a Folder,
    provenance: Provenance,
    schema: UnitSchema,
    most_errors: Option<MostErrors>,
}

/// When failed rows are the end.
#[derive(Debug, Clone, Copy)]
struct MostErrors {
    rate: f64,
    rows: u64,
}

/// What the reader says.
enum Read {
    Begin(Unit, Claim),
    Window(Window),
    End,
    Passed(Unit, Outcome),
    Failed(CorpusError),
}

/// What is to be written.
enum Write {
    Begin(Unit, Claim),
    Window(Window, Vec<Answer>),
    End,
}

impl<'a> Runner<'a> {
    /// `embedder` and `options` are those that the plan was made with.
    ///
    /// # Errors
    /// When the options don't fit the model.
    pub fn new(
        embedder: &'a Embedder,
        options: &'a EmbedOptions,
        plan: &'a Plan,
        folder: &'a Folder,
    ) -> Result<Self, CorpusError> {
        let provenance = embedder.provenance(options)?;
        Ok(Self {
            embedder,
            options,
            plan,
            folder,
            schema: UnitSchema::new(plan, &provenance)?,
            provenance,
            most_errors: None,
        })
    }

    /// Ends the work when more than this part of the plan's rows has failed.
    pub fn max_error_rate(mut self, rate: f64) -> Self {
        let rows = self.plan.rows();
        self.most_errors = Some(MostErrors { rate, rows });
        self
    }

    /// Most bytes that are held beside the model, unless rows, or what goes along with them, are longer
    /// than what is read at once.
    pub fn most_bytes(&self) -> u64 {
        // As they are read and as they are taken; and what goes along.
        let texts = 3 * MOST_BYTES as u64;
        // A token has a byte of text at least, and 4 bytes.
        let tokens = WINDOW_ROWS.saturating_mul(self.embedder.max_tokens());
        let tokens = 4 * tokens.min(MOST_BYTES) as u64;
        // Once as numbers, once as columns or as pages of a file.
        let vectors = 2 * 4 * WINDOW_ROWS.saturating_mul(self.embedder.dimension()) as u64;
        // Blocks of a file elsewhere, and a unit on its way there.
        let is_elsewhere = |path: &Path| url_of(path).is_some();
        let blocks = match self.plan.files.iter().any(|file| is_elsewhere(&file.path)) {
            true => 32 << 20,
            false => 0,
        };
        let unit = match is_elsewhere(self.folder.path()) {
            true => 64 << 20,
            false => 0,
        };
        texts + WINDOWS_HELD * (tokens + vectors) + blocks + unit
    }

    /// Embeds one unit, unless it is there or another process works on it.
    ///
    /// # Errors
    /// When the input can't be read, the output can't be written, or the model fails.
    pub fn run_unit(&self, unit: &Unit) -> Result<Outcome, CorpusError> {
        struct Last(Option<Outcome>);
        impl CorpusListener for Last {
            fn passed(&mut self, _: u64, _: u64) {}
            fn unit(&mut self, _: &Unit, outcome: &Outcome) {
                self.0 = Some(outcome.clone());
            }
            fn waiting(&mut self, _: usize) {}
        }
        let mut last = Last(None);
        self.pass(&[unit], &AtomicBool::new(false), &mut last)?;
        last.0.ok_or(CorpusError::Thread("writes units"))
    }

    /// Embeds all of these units that aren't there, and waits for those that others work on, to take
    /// them over when they are abandoned. `stop` ends the work after the pass that is being computed.
    ///
    /// # Errors
    /// As [`run_unit`](Self::run_unit), and when too many rows fail.
    pub fn run(
        &self,
        units: &[Unit],
        stop: &AtomicBool,
        listener: &mut dyn CorpusListener,
    ) -> Result<End, CorpusError> {
        let mut left: Vec<&Unit> = units.iter().collect();
        let mut told = usize::MAX;
        loop {
            left = self.pass(&left, stop, listener)?;
            if stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            if left.is_empty() {
                self.folder.tell(&Event::End)?;
                return Ok(End::Done);
            }
            if left.len() != told {
                told = left.len();
                listener.waiting(told);
            }
            thread::sleep(WAIT);
        }
    }

    /// Goes through units once, and gives those that others work on.
    fn pass<'u>(
        &self,
        units: &[&'u Unit],
        stop: &AtomicBool,
        listener: &mut dyn CorpusListener,
    ) -> Result<Vec<&'u Unit>, CorpusError> {
        // A window waits before the model, and one behind it.
        let (read, from_reader) = sync_channel(1);
        let (write, from_compute) = sync_channel(1);
        let (tell, outcomes) = channel();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let read = read;
                if let Err(error) = self.read(units, stop, &read) {
                    let _ = read.send(Read::Failed(error));
                }
            });
            let writer = scope.spawn(|| self.write(from_compute, tell));
            let mut computing = Computing {
                runner: self,
                counted: UnitSummary::default(),
                listener,
                held: HashSet::new(),
            };
            let computed = computing.run(from_reader, &write, &outcomes, stop);
            // The writer ends when nothing more can come.
            drop(write);
            let written = writer
                .join()
                .unwrap_or(Err(CorpusError::Thread("writes units")));
            // A reader that has panicked, say at a damaged file, is told as an error.
            let read = reader.join().map_err(|_| CorpusError::Thread("reads rows"));
            computing.hear(&outcomes);
            let held = std::mem::take(&mut computing.held);
            // What the writer says is the cause of what comes after.
            written.and(computed).and(read)?;
            Ok(units
                .iter()
                .copied()
                .filter(|unit| held.contains(&unit.name))
                .collect())
        })
    }

    /// Reads and tokenizes; a receiver that is gone is the end.
    fn read(
        &self,
        units: &[&Unit],
        stop: &AtomicBool,
        to: &SyncSender<Read>,
    ) -> Result<(), CorpusError> {
        let chunks = self.plan.settings.chunks;
        let splitter = chunks.map(|chunks| Splitter::new(chunks, self.embedder, self.options));
        let model = Reading {
            embedder: self.embedder,
            options: self.options,
            splitter: splitter.transpose()?,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
        };
        let mut reader = UnitReader::new(self.plan)?;
        for &unit in units {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let claim = match self.claim(unit)? {
                Ok(claim) => claim,
                Err(outcome) => match to.send(Read::Passed(unit.clone(), outcome)) {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            reader.start(unit)?;
            if to.send(Read::Begin(unit.clone(), claim)).is_err() {
                return Ok(());
            }
            let mut read = 0;
            while read < unit.rows {
                let rows = reader.read(unit, WINDOW_ROWS)?;
                let first_row = unit.first_row + read;
                read += rows.inputs.len() as u64;
                let window = Window::of(rows, first_row, &model)?;
                if to.send(Read::Window(window)).is_err() {
                    return Ok(());
                }
            }
            if to.send(Read::End).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The claim to a unit, or why there is nothing to do for it.
    fn claim(&self, unit: &Unit) -> Result<Result<Claim, Outcome>, CorpusError> {
        if self.folder.has(unit)? {
            return Ok(Err(Outcome::AlreadyThere));
        }
        Ok(match self.folder.claim(unit)? {
            Attempt::Held => Err(Outcome::Held),
            // Who had it may have finished it just now.
            Attempt::Taken(_) if self.folder.has(unit)? => Err(Outcome::AlreadyThere),
            Attempt::Taken(claim) => Ok(claim),
        })
    }

    /// Writes units; what is begun and not ended leaves nothing.
    fn write(
        &self,
        from: Receiver<Write>,
        tell: Sender<(Unit, Outcome)>,
    ) -> Result<(), CorpusError> {
        let mut open: Option<(Unit, Claim, UnitFile, Instant)> = None;
        for write in from {
            match (write, &mut open) {
                (Write::Begin(unit, claim), _) => {
                    let draft = |ending: &str| self.folder.draft(&unit, ending);
                    let file = UnitFile::create(&self.schema, draft)?;
                    open = Some((unit, claim, file, Instant::now()));
                }
                (Write::Window(window, answers), Some((unit, _, file, _))) => {
                    let name = &self.plan.file(unit)?.name;
                    file.write(&self.schema, name, &window, &answers)?;
                }
                (Write::End, Some(_)) => {
                    let Some((unit, _claim, file, started)) = open.take() else {
                        continue;
                    };
                    let (drafts, summary) = file.finish(&self.schema)?;
                    let outcome = match self.folder.publish(drafts, &unit)? {
                        true => Outcome::Written(summary),
                        false => Outcome::AlreadyThere,
                    };
                    if let Outcome::Written(summary) = &outcome {
                        self.folder.tell(&Event::Written {
                            unit: unit.name.clone(),
                            rows: summary.rows,
                            errors: summary.errors,
                            tokens: summary.tokens,
                            // Milliseconds: more digits come back from JSON as other numbers.
                            seconds: started.elapsed().as_millis() as f64 / 1e3,
                        })?;
                    }
                    // Nobody listens only when the work has ended.
                    let _ = tell.send((unit, outcome));
                }
                (Write::Window(..) | Write::End, None) => {}
            }
        }
        Ok(())
    }
}

/// The part that calls the model.
struct Computing<'r, 'a, 'l> {
    runner: &'r Runner<'a>,
    /// Of all that was computed.
    counted: UnitSummary,
    listener: &'l mut dyn CorpusListener,
    held: HashSet<String>,
}

impl Computing<'_, '_, '_> {
    fn run(
        &mut self,
        from: Receiver<Read>,
        to: &SyncSender<Write>,
        outcomes: &Receiver<(Unit, Outcome)>,
        stop: &AtomicBool,
    ) -> Result<(), CorpusError> {
        for read in from {
            self.hear(outcomes);
            let write = match read {
                Read::Failed(error) => return Err(error),
                Read::Passed(unit, outcome) => {
                    if outcome == Outcome::Held {
                        self.held.insert(unit.name.clone());
                    }
                    self.listener.unit(&unit, &outcome);
                    continue;
                }
                Read::Begin(unit, claim) => Write::Begin(unit, claim),
                Read::End => Write::End,
                Read::Window(window) => match self.embed(&window, stop)? {
                    Some(answers) => {
                        self.count(&window, &answers)?;
                        Write::Window(window, answers)
                    }
                    None => return Ok(()),
                },
            };
            // The writer says why it has ended.
            if to.send(write).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn embed(
        &mut self,
        window: &Window,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<Answer>>, CorpusError> {
        let runner = self.runner;
        let instruction = &runner.provenance.instruction;
        let passed = |texts, tokens| self.listener.passed(texts as u64, tokens as u64);
        Ok(window.embed(runner.embedder, runner.options, instruction, stop, passed)?)
    }

    /// # Errors
    /// When too many rows have failed.
    fn count(&mut self, window: &Window, answers: &[Answer]) -> Result<(), CorpusError> {
        self.counted.count(window, answers);
        let errors = self.counted.errors;
        match self.runner.most_errors {
            Some(MostErrors { rate, rows }) if errors as f64 > rate * rows as f64 => {
                Err(CorpusError::TooManyErrors {
                    errors,
                    rows,
                    rate,
                    first: self.counted.first_error.clone().unwrap_or_default(),
                })
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, outcomes: &Receiver<(Unit, Outcome)>) {
        for (unit, outcome) in outcomes.try_iter() {
            self.listener.unit(&unit, &outcome);
        }
    }
}

//! What an interrupt leaves: whole lines, and a word on where it stopped.

use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use akidb_bulk::{BulkError, FailedRow, FileWriter, Interrupted, Row, VectorWriter};
use akidb_embedding::Embedding;

use crate::message::failure;

/// Exit status after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// How long an interrupt waits for a row that is being written: a reader of a pipe may have stopped.
const PATIENCE: Duration = Duration::from_secs(2);

type Shared = Arc<Mutex<Option<FileWriter>>>;

/// A writer that SIGINT, SIGTERM and SIGHUP take away, between two rows.
pub(super) struct Interruptible(Shared);

impl Interruptible {
    pub(super) fn new(writer: FileWriter) -> Self {
        let shared: Shared = Arc::new(Mutex::new(Some(writer)));
        let taken = Arc::clone(&shared);
        if let Err(error) = ctrlc::set_handler(move || end(&taken)) {
            tracing::warn!("an interrupt would keep nothing of the output: {error}");
        }
        Self(shared)
    }

    pub(super) fn finish(self) -> Result<(), BulkError> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Still locked: an interrupt waits for the end.
        writer.take().map_or(Ok(()), FileWriter::finish)
    }

    fn with(
        &self,
        write: impl FnOnce(&mut FileWriter) -> Result<(), BulkError>,
    ) -> Result<(), BulkError> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without one, the process is about to end.
        writer.as_mut().map_or(Ok(()), write)
    }
}

impl Drop for Interruptible {
    /// After an error: what waits for interrupts would keep the unfinished file until the end, and
    /// with that beyond it.
    fn drop(&mut self) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(writer.take());
    }
}

impl VectorWriter for Interruptible {
    fn write(&mut self, row: &Row, embedding: &Embedding) -> Result<(), BulkError> {
        self.with(|writer| writer.write(row, embedding))
    }

    fn write_failed(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError> {
        self.with(|writer| writer.write_failed(row))
    }

    fn flush(&mut self) -> Result<(), BulkError> {
        self.with(VectorWriter::flush)
    }
}

/// Ends the process.
fn end(shared: &Shared) {
    if let Some(writer) = take(shared) {
        match writer.interrupt() {
            Ok(interrupted) => failure(format_args!("{}", words(&interrupted))),
            Err(error) => failure(format_args!("error: {error}")),
        }
    }
    exit(INTERRUPTED);
}

fn take(shared: &Shared) -> Option<FileWriter> {
    let until = Instant::now() + PATIENCE;
    loop {
        match shared.try_lock() {
            Ok(mut writer) => return writer.take(),
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return None,
        }
    }
}

fn words(interrupted: &Interrupted) -> String {
    let at = match interrupted.last {
        0 => "interrupted before the first row was written".to_owned(),
        line => format!("interrupted: the last row written is that of line {line}"),
    };
    match &interrupted.kept {
        Some(path) => format!("{at}; so far it is in {}", path.display()),
        None => at,
    }
}

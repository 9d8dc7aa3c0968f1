//! Rows that failed, told to people or written to a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use akidb_bulk::{BulkError, Columns, FailedRow};

use crate::hints::row_hint;
use crate::message::failure;

/// Rows that are told one by one; the others are counted.
const TOLD: u64 = 10;

/// What helps with rows that fail for different reasons.
const MIXED: &str = "each line above says why; --errors FILE takes all of them, as JSON";

/// Takes rows that failed.
pub(super) struct Errors {
    file: Option<(BufWriter<File>, PathBuf)>,
    columns: Columns,
    failed: u64,
    /// What would help, where it is the same with all of them.
    hint: Option<String>,
}

impl Errors {
    /// To a file, or to people.
    pub(super) fn new(path: Option<&Path>, columns: Columns) -> Result<Self, BulkError> {
        let open = |path: &Path| match File::create(path) {
            Ok(file) => Ok((BufWriter::new(file), path.to_owned())),
            Err(source) => Err(unwritten(path, source)),
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            columns,
            failed: 0,
            hint: None,
        })
    }

    pub(super) fn tell(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError> {
        self.failed += 1;
        let hint = row_hint(row.error);
        if self.failed == 1 {
            self.hint = hint;
        } else if self.hint != hint {
            self.hint = Some(MIXED.to_owned());
        }
        if let Some((file, path)) = &mut self.file {
            let object = row.object(&self.columns);
            let written = serde_json::to_writer(&mut *file, &object)
                .map_err(Into::into)
                .and_then(|()| file.write_all(b"\n"))
                // Whoever waits for it sees it.
                .and_then(|()| file.flush());
            return written.map_err(|source| unwritten(path, source));
        }
        if self.failed <= TOLD {
            failure(format_args!("{}: {}", row.place, row.message()));
        }
        Ok(())
    }

    /// Says how many were not told one by one, and gives what would help with all of them.
    pub(super) fn finish(self) -> Option<String> {
        if let Some((_, path)) = self.file {
            return Some(format!("{} says why", path.display()));
        }
        if let Some(more @ 1..) = self.failed.checked_sub(TOLD) {
            failure(format_args!(
                "and {more} more: --errors FILE takes all of them"
            ));
        }
        self.hint
    }
}

fn unwritten(path: &Path, source: std::io::Error) -> BulkError {
    BulkError::Write {
        to: path.display().to_string(),
        source,
    }
}

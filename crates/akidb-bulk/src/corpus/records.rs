//! Rows of text files: where each begins, and what it says.

use std::io::{self, BufRead};

use super::csv::CsvReader;
use super::kind::FileKind;
use crate::error::RowError;
use crate::read::lines::LineReader;

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// In the unpacked file.
    pub(super) byte: u64,
    /// From 1.
    pub(super) line: u64,
}

/// Rows one by one.
pub(super) enum Records {
    Lines(LineReader),
    Objects(LineReader),
    Csv(Box<CsvReader>),
}

/// What a row says, or what is wrong with it.
pub(super) enum Record {
    Line(Result<String, RowError>),
    Fields(Result<Vec<String>, RowError>),
}

impl Records {
    /// Rows from `start` on; the reader is there already. Parquet has none.
    pub(super) fn new(
        reader: impl BufRead + 'static,
        kind: FileKind,
        delimiter: u8,
        start: Start,
    ) -> Self {
        let reader = Box::new(reader);
        let lines = |reader| {
            let mut lines = LineReader::new(reader);
            (lines.position, lines.line) = (start.byte, start.line.saturating_sub(1));
            lines
        };
        match kind {
            FileKind::Csv => {
                let csv = CsvReader::new(reader, delimiter, start.byte, start.line);
                Self::Csv(Box::new(csv))
            }
            FileKind::Jsonl => Self::Objects(lines(reader)),
            FileKind::Lines | FileKind::Parquet => Self::Lines(lines(reader)),
        }
    }

    /// Where the next row begins, or blank lines before it.
    pub(super) fn start(&self) -> Start {
        match self {
            Self::Lines(lines) | Self::Objects(lines) => Start {
                byte: lines.position,
                line: lines.line + 1,
            },
            Self::Csv(csv) => Start {
                byte: csv.position,
                line: csv.line,
            },
        }
    }

    /// The next row. Blank lines are rows of plain text alone.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Lines(lines) => Ok(lines.next()?.map(Record::Line)),
            Self::Objects(lines) => loop {
                match lines.next()? {
                    Some(Ok(line)) if line.trim().is_empty() => {}
                    line => return Ok(line.map(Record::Line)),
                }
            },
            Self::Csv(csv) => Ok(csv.next()?.map(Record::Fields)),
        }
    }
}

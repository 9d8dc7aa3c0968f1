//! What is in a text file: how many rows, where units begin, and which fields there are.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::error::{CorpusError, unread};
use super::files::FoundFile;
use super::input_file::InputFile;
use super::json_types::{FieldTypes, JsonTypes};
use super::kind::{FileKind, delimiter, unpacked};
use super::records::{Record, Records, Start};

/// Where a unit begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) row: u64,
    /// In the unpacked file; 0 in Parquet.
    pub(super) byte: u64,
    /// From 1; 0 in Parquet.
    pub(super) line: u64,
}

/// What was found out.
#[derive(Debug)]
pub(super) struct Scanned {
    /// A hash of the file's bytes.
    pub(super) content: String,
    pub(super) rows: u64,
    pub(super) cuts: Vec<Cut>,
    /// The names of CSV's columns.
    pub(super) header: Vec<String>,
    /// The fields of objects.
    pub(super) fields: Vec<(String, JsonTypes)>,
}

/// Reads the whole file once; the fields of objects where they are wanted.
pub(super) fn scan(
    open: InputFile,
    file: &FoundFile,
    unit_rows: u64,
    wants_fields: bool,
) -> Result<Scanned, CorpusError> {
    let failed = unread(&file.path);
    let hasher = Arc::new(Mutex::new(XxHash3_128::new()));
    let hashed = Hashed {
        file: open,
        hasher: Arc::clone(&hasher),
    };
    let reader = unpacked(hashed, file.packing).map_err(&failed)?;
    let start = Start { byte: 0, line: 1 };
    let mut records = Records::new(reader, file.kind, delimiter(&file.path), start);
    let header = match file.kind {
        FileKind::Csv => header(&mut records, &file.path)?,
        _ => Vec::new(),
    };
    let (mut rows, mut cuts, mut fields) = (0, Vec::new(), FieldTypes::default());
    loop {
        let start = records.start();
        let Some(record) = records.next().map_err(&failed)? else {
            break;
        };
        if rows % unit_rows == 0 {
            cuts.push(Cut {
                row: rows,
                byte: start.byte,
                line: start.line,
            });
        }
        if let (Record::Line(Ok(line)), true) = (&record, wants_fields) {
            fields.add(line)?;
        }
        rows += 1;
    }
    let hash = hasher.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Scanned {
        content: format!("{:032x}", hash.finish_128()),
        rows,
        cuts,
        header,
        fields: fields.finish(),
    })
}

/// The names of the columns; none of an empty file.
fn header(records: &mut Records, path: &Path) -> Result<Vec<String>, CorpusError> {
    match records.next().map_err(unread(path))? {
        Some(Record::Fields(Ok(header))) => Ok(header),
        Some(Record::Fields(Err(error))) => Err(unread(path)(io::Error::other(error))),
        _ => Ok(Vec::new()),
    }
}

/// Hashes what is read.
struct Hashed {
    file: InputFile,
    hasher: Arc<Mutex<XxHash3_128>>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.write(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

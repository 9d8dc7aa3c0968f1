//! Records of CSV, as RFC 4180 has them, of bounded length.

use std::io::{self, BufRead, ErrorKind};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::RowError;
use crate::read::lines::MAX_LINE_MIB;

/// Most fields of a record.
const MAX_FIELDS: usize = 1 << 16;

/// Records one by one.
pub(super) struct CsvReader {
    reader: Box<dyn BufRead>,
    core: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    longest: usize,
    /// Bytes read so far.
    pub(super) position: u64,
    /// Line that the next record begins on, from 1.
    pub(super) line: u64,
}

impl CsvReader {
    /// From byte `position` on, which is on `line`.
    pub(super) fn new(reader: Box<dyn BufRead>, delimiter: u8, position: u64, line: u64) -> Self {
        let mut core = ReaderBuilder::new().delimiter(delimiter).build();
        core.set_line(line);
        Self {
            reader,
            core,
            output: vec![0; 8 << 10],
            ends: vec![0; 64],
            longest: MAX_LINE_MIB << 20,
            position,
            line,
        }
    }

    /// The next record, or what is wrong with it. Blank lines are none.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Vec<String>, RowError>>> {
        let (mut written, mut fields, mut too_long) = (0, 0, false);
        loop {
            let input = match self.reader.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let output = self.output.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(fields..).unwrap_or_default();
            let (result, read, wrote, ended) = self.core.read_record(input, output, ends);
            self.reader.consume(read);
            self.position += read as u64;
            written += wrote;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < self.longest => {
                    let longer = self.output.len().saturating_mul(2).min(self.longest);
                    self.output.resize(longer, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_FIELDS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                // The rest of the record is read over.
                ReadRecordResult::OutputFull => (written, too_long) = (0, true),
                ReadRecordResult::OutputEndsFull => (fields, too_long) = (0, true),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        self.line = self.core.line();
        Ok(Some(match too_long {
            true => Err(RowError::TooLong(self.longest >> 20)),
            false => self.record(written, fields),
        }))
    }

    fn record(&self, written: usize, fields: usize) -> Result<Vec<String>, RowError> {
        let bytes = self.output.get(..written).unwrap_or_default();
        let text = str::from_utf8(bytes).map_err(|error| RowError::Utf8(error.valid_up_to()))?;
        let mut start = 0;
        let ends = self.ends.iter().take(fields);
        ends.map(|&end| {
            let field = text.get(start..end);
            start = end;
            // Fields are cut at ASCII characters; where the bytes together are text and a field alone
            // is not, they were none.
            field.map(str::to_owned).ok_or(RowError::Utf8(start))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static [u8], longest: usize) -> Vec<Result<Vec<String>, String>> {
        let mut reader = CsvReader::new(Box::new(text), b',', 0, 1);
        reader.longest = longest;
        reader.output.truncate(longest);
        let mut records = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            records.push(record.map_err(|error| error.to_string()));
        }
        assert_eq!(reader.position, text.len() as u64);
        records
    }

    #[test]
    fn quotes_line_ends_and_blank_lines() {
        let text = b"\xef\xbb\xbfa,b\r\n\"x, \"\"y\"\"\nz\",2\n\n3,\n4";
        let expected = [
            vec!["a", "b"],
            vec!["x, \"y\"\nz", "2"],
            vec!["3", ""],
            vec!["4"],
        ];
        let expected = expected.map(|record| Ok(record.into_iter().map(str::to_owned).collect()));
        assert_eq!(read(text, 1 << 10), expected);
    }

    #[test]
    fn what_is_wrong_with_a_record_leaves_the_next_ones_alone() {
        let records = read(b"abcdefgh,abcdefgh,x\nb\n\xff\nc\nabc\xc3,\xbc\nd", 8);
        let right: Vec<bool> = records.iter().map(Result::is_ok).collect();
        assert_eq!(right, [false, true, false, true, false, true]);
    }

    #[test]
    fn an_unclosed_quote_takes_bounded_memory() {
        let text: &'static [u8] = Box::leak([b"\"".as_slice(), &[b'x'; 100_000]].concat().into());
        let records = read(text, 1 << 10);
        assert_eq!(records.len(), 1);
        assert!(records[0].is_err());
    }
}

//! Lines of bounded length.

use std::io::{self, BufRead, Read};

use crate::error::RowError;

/// Longest line that is read.
pub(crate) const MAX_LINE_MIB: usize = 256;

/// Some editors put it before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The same in UTF-16, of either byte order.
const UTF_16: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// Lines one by one, with their numbers.
pub(crate) struct LineReader {
    reader: Box<dyn BufRead>,
    longest: usize,
    /// Number of the last line, from 1.
    pub(crate) line: u64,
    /// Bytes read so far.
    pub(crate) position: u64,
}

impl LineReader {
    pub(crate) fn new(reader: Box<dyn BufRead>) -> Self {
        Self {
            reader,
            longest: MAX_LINE_MIB << 20,
            line: 0,
            position: 0,
        }
    }

    /// The next line without its end, or what is wrong with it.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<String, RowError>>> {
        let limit = self.longest as u64;
        let mut bytes = Vec::new();
        let mut part = self.reader.by_ref().take(limit + 1);
        let read = part.read_until(b'\n', &mut bytes)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.position += read;
        if read > limit && bytes.last() != Some(&b'\n') {
            drop(bytes);
            self.position += self.reader.skip_until(b'\n')? as u64;
            return Ok(Some(Err(RowError::TooLong(self.longest >> 20))));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        if self.line == 1 && UTF_16.iter().any(|mark| bytes.starts_with(mark)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is UTF-16, and not UTF-8",
            ));
        }
        let text = String::from_utf8(bytes);
        Ok(Some(text.map_err(|error| {
            RowError::Utf8(error.utf8_error().valid_up_to())
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static [u8], longest: usize) -> Vec<(u64, Result<String, String>)> {
        let mut reader = LineReader::new(Box::new(text));
        reader.longest = longest;
        let mut lines = Vec::new();
        while let Some(line) = reader.next().unwrap() {
            lines.push((reader.line, line.map_err(|error| error.to_string())));
        }
        assert_eq!(reader.position, text.len() as u64);
        lines
    }

    #[test]
    fn utf_16_is_no_text_with_a_few_bad_lines() {
        for text in [&b"\xff\xfea\0\n\0b\0"[..], b"\xfe\xff\0a\0\n"] {
            let error = LineReader::new(Box::new(text)).next().unwrap_err();
            assert!(error.to_string().contains("UTF-16"), "{error}");
        }
    }

    #[test]
    fn lines_end_with_either_end_or_none() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            read("\u{feff}a\r\n\nb\r".as_bytes(), 8),
            [(1, ok("a")), (2, ok("")), (3, ok("b\r"))]
        );
        assert_eq!(read(b"", 8), []);
    }

    #[test]
    fn what_is_wrong_with_a_line_leaves_the_next_ones_alone() {
        let lines = read(b"abcd\nabcde\nabcdefgh\na\xff\nb\nabcdefgh", 4);
        let wrong: Vec<_> = lines.iter().filter(|(_, line)| line.is_err()).collect();
        let numbers: Vec<_> = wrong.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 4, 6]);
        assert_eq!(
            wrong[2].1,
            Err("it is not valid UTF-8 from byte 1 on".to_owned())
        );
        assert_eq!(lines[4], (5, Ok("b".to_owned())));
    }
}

//! Where texts come from.

pub(crate) mod lines;
pub(crate) mod object;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use akidb_embedding::Input;

use crate::error::BulkError;
use crate::row::{Columns, Row};
use lines::LineReader;
use object::Object;

/// Bytes of the input after which [`Rows::take`] takes no further row.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// Which fields of JSON objects are what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Holds the text, or a list of token ids.
    pub text: String,
    /// Holds what the row is called; a row without it is a bad one.
    pub id: Option<String>,
    /// Go along with the vector.
    pub keep: Vec<String>,
}

impl Default for Fields {
    /// The text is in the field `text`, and nothing goes along.
    fn default() -> Self {
        Self {
            text: "text".to_owned(),
            id: None,
            keep: Vec::new(),
        }
    }
}

/// Rows one by one, in order.
pub struct Rows {
    name: String,
    source: Source,
    columns: Columns,
    read: u64,
    blank: u64,
    /// Of each field that goes along, whether a row had it.
    seen: Vec<bool>,
    bytes: Option<u64>,
}

enum Source {
    Texts(std::vec::IntoIter<String>),
    Lines(LineReader),
    Objects(LineReader, Fields),
}

impl Rows {
    /// Texts that are here already; `name` is what errors call them.
    pub fn texts(texts: Vec<String>, name: &str) -> Self {
        Self::new(
            name,
            Source::Texts(texts.into_iter()),
            Columns::default(),
            None,
        )
    }

    /// One text a line, empty lines too.
    pub fn lines(reader: impl BufRead + 'static, name: &str) -> Self {
        let columns = Columns {
            line: true,
            ..Columns::default()
        };
        let reader = LineReader::new(Box::new(reader));
        Self::new(name, Source::Lines(reader), columns, None)
    }

    /// One JSON object a line; blank lines are passed over, and counted.
    pub fn json_lines(reader: impl BufRead + 'static, name: &str, fields: Fields) -> Self {
        let columns = Columns {
            line: true,
            id: fields.id.is_some(),
            keep: fields.keep.clone(),
        };
        let reader = LineReader::new(Box::new(reader));
        Self::new(name, Source::Objects(reader, fields), columns, None)
    }

    /// [`Rows::json_lines`] of a file.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn json_lines_file(path: &Path, fields: Fields) -> Result<Self, BulkError> {
        let name = path.display().to_string();
        let failed = |source| BulkError::Read {
            from: name.clone(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut rows = Self::json_lines(BufReader::new(file), &name, fields);
        rows.bytes = metadata.is_file().then_some(metadata.len());
        Ok(rows)
    }

    fn new(name: &str, source: Source, columns: Columns, bytes: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            source,
            seen: vec![false; columns.keep.len()],
            columns,
            read: 0,
            blank: 0,
            bytes,
        }
    }

    /// What the rows have beside their texts.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Bytes to read, where known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        match &self.source {
            Source::Texts(_) => 0,
            Source::Lines(reader) | Source::Objects(reader, _) => reader.position,
        }
    }

    /// Blank lines that were passed over so far.
    pub fn blank(&self) -> u64 {
        self.blank
    }

    /// Fields that were to go along, and that no row had so far.
    pub fn never_seen(&self) -> impl Iterator<Item = &str> {
        let fields = self.columns.keep.iter().zip(&self.seen);
        fields
            .filter(|(_, seen)| !**seen)
            .map(|(field, _)| field.as_str())
    }

    /// What people call the place of a row: `line 3 of docs.jsonl`, or `text 3`.
    pub fn place(&self, row: &Row) -> String {
        match row.line {
            Some(line) => format!("line {line} of {}", self.name),
            None => format!("text {}", row.number()),
        }
    }

    /// Up to `count` further rows; fewer at the end, or when they are very long.
    ///
    /// # Errors
    /// When the input can't be read.
    pub fn take(&mut self, count: usize) -> Result<Vec<Row>, BulkError> {
        let mut rows = Vec::new();
        let start = self.position();
        while rows.len() < count && self.position() - start < MAX_BATCH_BYTES {
            match self.next_row()? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        Ok(rows)
    }

    /// As [`take`](Self::take), the texts alone.
    ///
    /// # Errors
    /// When the input can't be read, or there is something wrong with a row.
    pub fn take_texts(&mut self, count: usize) -> Result<Vec<Input<'static>>, BulkError> {
        let rows = self.take(count)?.into_iter();
        let texts = rows.map(|mut row| {
            let input = std::mem::replace(&mut row.input, Ok(Input::from("")));
            input.map_err(|source| BulkError::Row {
                place: self.place(&row),
                source,
            })
        });
        texts.collect()
    }

    fn next_row(&mut self) -> Result<Option<Row>, BulkError> {
        let (line, object) = match &mut self.source {
            Source::Texts(texts) => (None, texts.next().map(|text| plain(Ok(text)))),
            Source::Lines(reader) => {
                let read = reader.next();
                let text = read.map_err(|source| unread(&self.name, source))?;
                (Some(reader.line), text.map(plain))
            }
            Source::Objects(reader, fields) => loop {
                let read = reader.next();
                match read.map_err(|source| unread(&self.name, source))? {
                    Some(Ok(line)) if line.trim().is_empty() => self.blank += 1,
                    Some(Ok(line)) => {
                        break (Some(reader.line), Some(Object::parse(&line, fields)));
                    }
                    Some(Err(error)) => {
                        break (Some(reader.line), Some(Object::broken(error, fields)));
                    }
                    None => break (None, None),
                }
            },
        };
        let Some(Object { id, kept, input }) = object else {
            return Ok(None);
        };
        let index = self.read;
        self.read += 1;
        for (seen, value) in self.seen.iter_mut().zip(&kept) {
            *seen |= value.is_some();
        }
        let kept = kept.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Some(Row {
            index,
            line,
            id,
            kept,
            input,
        }))
    }
}

fn plain(text: Result<String, crate::error::RowError>) -> Object {
    Object {
        id: None,
        kept: Vec::new(),
        input: text.map(Input::from),
    }
}

fn unread(name: &str, source: std::io::Error) -> BulkError {
    BulkError::Read {
        from: name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_lines_blank_ones_counted() {
        let text = "{\"text\": \"a\", \"n\": 7}\n\n \t\n{\"n\": 8}\n[1]\n{\"text\": [1, 2]}";
        let fields = Fields {
            id: Some("n".to_owned()),
            keep: vec!["url".to_owned()],
            ..Fields::default()
        };
        let mut rows = Rows::json_lines(text.as_bytes(), "x", fields);
        let read = rows.take(10).unwrap();
        let lines: Vec<_> = read.iter().map(|row| (row.index, row.line)).collect();
        assert_eq!(
            lines,
            [(0, Some(1)), (1, Some(4)), (2, Some(5)), (3, Some(6))]
        );
        assert_eq!(rows.blank(), 2);
        assert_eq!(read[0].id, Some(7.into()));
        assert_eq!(read[1].id, Some(8.into()));
        assert!(read.iter().all(|row| row.kept == [serde_json::Value::Null]));
        assert_eq!(rows.never_seen().collect::<Vec<_>>(), ["url"]);
        let wrong = |row: &Row| row.input.as_ref().err().map(ToString::to_string);
        let no_field = |name: &str| Some(format!("it has no field {name:?}"));
        assert_eq!(wrong(&read[0]), None);
        assert_eq!(wrong(&read[1]), no_field("text"));
        assert_eq!(
            wrong(&read[2]),
            Some("it is a list, not an object".to_owned())
        );
        assert_eq!(wrong(&read[3]), no_field("n"));
        assert_eq!(rows.place(&read[3]), "line 6 of x");
    }
}

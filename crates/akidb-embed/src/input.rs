//! Texts from arguments, from standard input, or from a JSON Lines file.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use akidb_embedding::Input;
use clap::Args;
use serde_json::Value;

use crate::error::{CliError, LineError};

/// Bytes of the input after which a batch takes no further text.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// Longest line that is read.
const MAX_LINE_MIB: usize = 256;

/// Some editors put it before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where texts come from.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Texts; without any, standard input is read, one text a line
    texts: Vec<String>,

    /// Read texts from a JSON Lines file, "-" for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    jsonl: Option<PathBuf>,

    /// Field of the JSON objects that holds the text (or a list of token ids) [default: text]
    // Texts conflict with --jsonl, and clap requires nothing that conflicts with what is given.
    #[arg(
        long,
        value_name = "NAME",
        requires = "jsonl",
        conflicts_with = "texts"
    )]
    field: Option<String>,
}

/// Texts, one by one, in order.
pub(crate) struct Texts {
    lines: Lines,
    /// Bytes to read, where known.
    pub(crate) bytes: Option<u64>,
}

enum Lines {
    Arguments(std::vec::IntoIter<String>),
    Plain(LineReader),
    Json { reader: LineReader, field: String },
}

struct LineReader {
    name: String,
    reader: Box<dyn BufRead>,
    line: usize,
    position: u64,
}

impl InputArgs {
    /// The texts of a JSON Lines file.
    pub(crate) fn of_file(path: &Path, field: Option<String>) -> Self {
        Self {
            texts: Vec::new(),
            jsonl: Some(path.to_owned()),
            field,
        }
    }

    pub(crate) fn open(&self) -> Result<Texts, CliError> {
        if let Some(path) = &self.jsonl {
            let (reader, bytes) = if path.as_os_str() == "-" {
                (LineReader::stdin(), None)
            } else {
                LineReader::file(path)?
            };
            let field = self.field.clone().unwrap_or_else(|| "text".to_owned());
            return Ok(Texts {
                lines: Lines::Json { reader, field },
                bytes,
            });
        }
        if self.texts.is_empty() {
            if std::io::stdin().is_terminal() {
                return Err(CliError::Usage(
                    "there is no text: give some as arguments, with --jsonl, or on standard input"
                        .to_owned(),
                ));
            }
            return Ok(Texts {
                lines: Lines::Plain(LineReader::stdin()),
                bytes: None,
            });
        }
        Ok(Texts {
            lines: Lines::Arguments(self.texts.clone().into_iter()),
            bytes: None,
        })
    }
}

impl Texts {
    /// Bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        match &self.lines {
            Lines::Arguments(_) => 0,
            Lines::Plain(reader) | Lines::Json { reader, .. } => reader.position,
        }
    }

    /// Up to `count` further texts; fewer at the end, or when they are very long.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<Input<'static>>, CliError> {
        let mut texts = Vec::new();
        let start = self.position();
        while texts.len() < count && self.position() - start < MAX_BATCH_BYTES {
            match self.next()? {
                Some(text) => texts.push(text),
                None => break,
            }
        }
        Ok(texts)
    }

    fn next(&mut self) -> Result<Option<Input<'static>>, CliError> {
        match &mut self.lines {
            Lines::Arguments(texts) => Ok(texts.next().map(Input::from)),
            Lines::Plain(reader) => Ok(reader.next()?.map(Input::from)),
            Lines::Json { reader, field } => {
                while let Some(line) = reader.next()? {
                    if !line.trim().is_empty() {
                        return parse(&line, field)
                            .map(Some)
                            .map_err(|source| reader.error(source));
                    }
                }
                Ok(None)
            }
        }
    }
}

fn parse(line: &str, field: &str) -> Result<Input<'static>, LineError> {
    let mut object = match serde_json::from_str(line)? {
        Value::Object(object) => object,
        other => return Err(LineError::NotObject(kind(&other))),
    };
    let value = object
        .remove(field)
        .ok_or_else(|| LineError::NoField(field.to_owned()))?;
    match value {
        Value::String(text) => Ok(Input::from(text)),
        other => {
            let is = kind(&other);
            let ids = serde_json::from_value::<Vec<u32>>(other);
            ids.map(Input::from).map_err(|_| LineError::NotText {
                field: field.to_owned(),
                is,
            })
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl LineReader {
    fn stdin() -> Self {
        Self {
            name: "standard input".to_owned(),
            reader: Box::new(BufReader::new(std::io::stdin())),
            line: 0,
            position: 0,
        }
    }

    fn file(path: &Path) -> Result<(Self, Option<u64>), CliError> {
        let failed = |source| CliError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let reader = Self {
            name: path.display().to_string(),
            reader: Box::new(BufReader::new(file)),
            line: 0,
            position: 0,
        };
        Ok((reader, Some(bytes)))
    }

    /// The next line without its end.
    fn next(&mut self) -> Result<Option<String>, CliError> {
        self.line += 1;
        let limit = (MAX_LINE_MIB as u64) << 20;
        let mut bytes = Vec::new();
        let read = self
            .reader
            .by_ref()
            .take(limit + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| CliError::Read {
                path: PathBuf::from(&self.name),
                source,
            })?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 > limit {
            return Err(self.error(LineError::TooLong(MAX_LINE_MIB)));
        }
        self.position += read as u64;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|e| self.error(LineError::Utf8(e.utf8_error().valid_up_to())))
    }

    fn error(&self, source: LineError) -> CliError {
        CliError::Line {
            place: format!("line {} of {}", self.line, self.name),
            source,
        }
    }
}

//! Where vectors go, and in which format.

use std::fmt::{self, Display, Formatter};
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::str::FromStr;

use akidb_bulk::{Columns, Destination, FileWriter};
use akidb_embedding::{Choice, Provenance, UnknownChoice};
use clap::builder::TypedValueParser;

use crate::args::words;
use crate::error::CliError;

/// How vectors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Pretty,
    /// For programs.
    Machine(akidb_bulk::Format),
}

const PRETTY: &str = "pretty";

/// Takes the words of formats.
pub(super) fn formats() -> impl TypedValueParser<Value = Format> {
    let pretty = (
        PRETTY,
        "For people: size, tokens, length, first values and a picture",
    );
    let machine = akidb_bulk::Format::ALL.iter();
    let machine = machine.map(|format| (format.word(), format.summary()));
    words([pretty].into_iter().chain(machine))
}

impl FromStr for Format {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            PRETTY => Ok(Self::Pretty),
            word => word.parse().map(Self::Machine),
        }
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pretty => f.write_str(PRETTY),
            Self::Machine(format) => format.fmt(f),
        }
    }
}

impl Format {
    /// Whether an object can stand in the place of a row that failed.
    pub(super) fn has_error_objects(self) -> bool {
        matches!(self, Self::Machine(format) if format.has_error_objects())
    }
}

/// A format, and where it is written.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) format: Format,
    /// Without it: standard output.
    pub(super) path: Option<&'a Path>,
}

impl<'a> Target<'a> {
    /// `output` is a file's path, or "-" for standard output.
    pub(super) fn new(format: Option<Format>, output: Option<&'a Path>) -> Result<Self, CliError> {
        let path = output.filter(|path| *path != Path::new("-"));
        let terminal = path.is_none() && stdout().is_terminal();
        let by_name = path.and_then(akidb_bulk::Format::of_path);
        let format = match (format, by_name) {
            (None, None) if terminal && output.is_none() => Format::Pretty,
            (None, None) => match path.and_then(Path::extension) {
                Some(ending) => return Err(unknown_ending(&ending.to_string_lossy())),
                None => Format::Machine(akidb_bulk::Format::Json),
            },
            (None, Some(by_name)) => Format::Machine(by_name),
            // What is for people is text, too.
            (Some(Format::Pretty), Some(akidb_bulk::Format::Text)) => Format::Pretty,
            (Some(format), Some(by_name)) if format != Format::Machine(by_name) => {
                let path = path.unwrap_or(Path::new("-")).display();
                return Err(CliError::Usage(format!(
                    "--format {format} contradicts the ending of {path}, which means {by_name}"
                )));
            }
            (Some(format), _) => format,
        };
        match format {
            Format::Machine(format) if terminal && format.is_binary() => {
                return Err(CliError::BinaryOnTerminal(format.as_str()));
            }
            _ => {}
        }
        Ok(Self { format, path })
    }

    /// What writes the format; nothing where it is for people on standard output.
    pub(super) fn open(
        &self,
        provenance: Provenance,
        columns: Columns,
    ) -> Result<Option<FileWriter>, CliError> {
        let Format::Machine(format) = self.format else {
            return Ok(None);
        };
        let destination = self.destination()?;
        Ok(Some(FileWriter::new(
            format,
            destination,
            provenance,
            columns,
        )?))
    }

    pub(super) fn destination(&self) -> Result<Destination, CliError> {
        Ok(match self.path {
            Some(path) => Destination::open(path)?,
            None => Destination::stdout(),
        })
    }
}

fn unknown_ending(ending: &str) -> CliError {
    CliError::Usage(format!(
        "no format has the ending .{ending}: .npy, .parquet, .jsonl, .json, .csv and .txt have one, for another \
         name --format"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format_and_is_not_contradicted() {
        let format = |format: Option<&str>, path: &str| {
            let format = format.map(|word| word.parse().unwrap());
            let target = Target::new(format, Some(Path::new(path)));
            target.map(|target| target.format.to_string())
        };
        for (path, expected) in [
            ("a.npy", "npy"),
            ("a.b.JSONL", "jsonl"),
            ("a.ndjson", "jsonl"),
            ("a.json", "json"),
            ("a.csv", "csv"),
            ("a.txt", "text"),
            ("a.Parquet", "parquet"),
            ("npy", "json"),
            ("-", "json"),
        ] {
            assert_eq!(format(None, path).unwrap(), expected, "{path}");
        }
        for (word, path) in [("npy", "a.npy"), ("npy", "a.vec"), ("text", "a.txt")] {
            assert_eq!(format(Some(word), path).unwrap(), word);
        }
        assert_eq!(format(Some("pretty"), "a.txt").unwrap(), "pretty");
        for (word, path) in [("json", "a.npy"), ("pretty", "a.json"), ("json", "a.jsonl")] {
            let error = format(Some(word), path).unwrap_err();
            assert!(matches!(error, CliError::Usage(_)), "{error}");
        }
        for path in ["a.vec", "a.jsonl.gz"] {
            let error = format(None, path).unwrap_err().to_string();
            assert!(error.contains("--format"), "{error}");
        }
    }
}

//! Where texts come from.

use std::io::{BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use akidb_bulk::{BulkError, Fields, Rows};
use clap::Args;
use same_file::Handle;

use crate::error::CliError;
use crate::message::message;

/// What errors call standard input.
const STDIN: &str = "standard input";

/// Where texts come from.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Texts; without any, or with "-", standard input is read, one text a line
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

impl InputArgs {
    /// The texts alone.
    pub(crate) fn open(&self) -> Result<Rows, CliError> {
        self.open_with(None, &[])
    }

    /// Texts with an id and other fields of their objects.
    pub(crate) fn open_with(&self, id: Option<&str>, keep: &[String]) -> Result<Rows, CliError> {
        if let Some(path) = &self.jsonl {
            let fields = Fields {
                id: id.map(str::to_owned),
                keep: keep.to_vec(),
                ..fields(self.field.as_deref())
            };
            return Ok(json_lines(path, fields)?);
        }
        if !self.texts.is_empty() && self.texts != ["-"] {
            self.tell_of_files();
            return Ok(Rows::texts(self.texts.clone(), "the arguments"));
        }
        if self.texts.is_empty() && stdin().is_terminal() {
            return Err(CliError::Usage(
                "there is no text: give some as arguments, with --jsonl, or on standard input"
                    .to_owned(),
            ));
        }
        Ok(Rows::lines(BufReader::new(stdin()), STDIN))
    }
}

impl InputArgs {
    /// Whether the texts come from this regular file.
    pub(crate) fn reads(&self, file: &Path) -> bool {
        // Who opens a pipe waits for its other end.
        let handle = |path: &Path| {
            path.is_file()
                .then(|| Handle::from_path(path).ok())
                .flatten()
        };
        let Some(file) = handle(file) else {
            return false;
        };
        match &self.jsonl {
            Some(path) if path.as_os_str() != "-" => {
                handle(path).is_some_and(|input| input == file)
            }
            None if !self.texts.is_empty() && self.texts != ["-"] => false,
            _ => Handle::stdin().is_ok_and(|input| input == file),
        }
    }

    /// Says so where a text is the name of a file, whose contents may have been meant.
    fn tell_of_files(&self) {
        let mut files = self.texts.iter().filter(|text| Path::new(text).is_file());
        if let Some(file) = files.next() {
            message(format_args!(
                "warning: {file} is taken as a text, and not as the file of that name: < {file} reads its \
                 lines"
            ));
        }
    }
}

/// The objects of a file, or of standard input.
pub(crate) fn json_lines(path: &Path, fields: Fields) -> Result<Rows, BulkError> {
    match path.as_os_str() == "-" {
        true => Ok(Rows::json_lines(BufReader::new(stdin()), STDIN, fields)),
        false => Rows::json_lines_file(path, fields),
    }
}

/// The text's field by its name.
pub(crate) fn fields(text: Option<&str>) -> Fields {
    match text {
        Some(text) => Fields {
            text: text.to_owned(),
            ..Fields::default()
        },
        None => Fields::default(),
    }
}

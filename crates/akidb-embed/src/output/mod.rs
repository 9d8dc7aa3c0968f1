//! Vectors on their way out: formats, and where they are written.

mod destination;
mod json;
mod npy;
mod plain;
mod pretty;
mod stdout;

use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use clap::ValueEnum;
use tempfile::{SpooledTempFile, spooled_tempfile};

use akidb_embedding::{EmbedError, Embedding, Input, Provenance};

use crate::error::CliError;
use destination::Destination;

pub(crate) use stdout::{print, print_json};

/// Items kept in memory before they go to a temporary file, in bytes.
const SPOOL_BYTES: usize = 16 << 20;

/// How vectors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: size, tokens, length, first values and a picture
    Pretty,
    /// One object in the shape of OpenAI's embeddings API
    Json,
    /// One object a line; texts that can't be embedded are objects on standard error
    Jsonl,
    /// A numpy array [texts, values]
    Npy,
    /// A header, then one line a text
    Csv,
    /// One line a text, values parted by spaces
    Text,
}

/// Writes embeddings in one format to standard output or to a file.
pub(crate) struct Output {
    format: Format,
    provenance: Provenance,
    destination: Destination,
    /// Holds the items of json, which is printed whole or not at all, and of npy, whose head has
    /// their number.
    spool: Option<SpooledTempFile>,
    items: usize,
    tokens: usize,
}

impl Output {
    /// `path` is a file's, or "-" for standard output.
    pub(crate) fn create(
        format: Format,
        path: Option<&Path>,
        provenance: Provenance,
    ) -> Result<Self, CliError> {
        let destination = match path.filter(|path| *path != Path::new("-")) {
            Some(path) => Destination::open(path)?,
            None if format == Format::Pretty => Destination::Stdout(Box::new(anstream::stdout())),
            None => Destination::Stdout(Box::new(BufWriter::new(io::stdout()))),
        };
        let spooled = matches!(format, Format::Json | Format::Npy);
        Ok(Self {
            format,
            provenance,
            destination,
            spool: spooled.then(|| spooled_tempfile(SPOOL_BYTES)),
            items: 0,
            tokens: 0,
        })
    }

    /// Writes further embeddings; texts that failed are counted and left out.
    pub(crate) fn write(
        &mut self,
        inputs: &[Input<'_>],
        answers: &[Result<Embedding, EmbedError>],
    ) -> Result<(), CliError> {
        self.try_write(inputs, answers)
            .map_err(|source| CliError::Write {
                to: match &self.spool {
                    Some(_) => "a temporary file".to_owned(),
                    None => self.destination.name(),
                },
                source,
            })
    }

    fn try_write(
        &mut self,
        inputs: &[Input<'_>],
        answers: &[Result<Embedding, EmbedError>],
    ) -> io::Result<()> {
        let out: &mut dyn Write = match &mut self.spool {
            Some(spool) => spool,
            None => self.destination.writer(),
        };
        for (input, answer) in inputs.iter().zip(answers) {
            let index = self.items;
            self.items += 1;
            let Ok(embedding) = answer else {
                continue;
            };
            match self.format {
                Format::Json => json::item(out, index, embedding)?,
                Format::Jsonl => json::line(out, index, embedding, &self.provenance)?,
                Format::Npy => npy::row(out, &embedding.values)?,
                Format::Csv => plain::csv(out, index, embedding)?,
                Format::Text => plain::text(out, &embedding.values)?,
                Format::Pretty => pretty::picture(out, index, input, embedding)?,
            }
            self.tokens += embedding.tokens;
        }
        out.flush()
    }

    /// Writes what is left; only now does an output file appear under its name.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.try_finish().map_err(|source| CliError::Write {
            to: self.destination.name(),
            source,
        })?;
        self.destination.finish()
    }

    fn try_finish(&mut self) -> io::Result<()> {
        let out = self.destination.writer();
        if let Some(spool) = &mut self.spool {
            spool.rewind()?;
        }
        match (self.format, &mut self.spool) {
            (Format::Json, Some(items)) => {
                json::head(out, &self.provenance)?;
                io::copy(items, out)?;
                json::tail(out, self.tokens, &self.provenance)?;
            }
            (Format::Npy, Some(rows)) => {
                npy::head(out, self.items, &self.provenance)?;
                io::copy(rows, out)?;
            }
            (Format::Pretty, _) => pretty::footer(out, &self.provenance)?,
            _ => {}
        }
        out.flush()
    }
}

//! Vectors on their way out: formats, and where they are written.

mod json;
mod npy;
mod plain;
mod pretty;

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tempfile::NamedTempFile;

use akidb_embedding::{Embedding, Input, Provenance};

use crate::error::CliError;

/// How vectors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: size, tokens, length, first values and a picture
    Pretty,
    /// One object in the shape of OpenAI's embeddings API
    Json,
    /// One object a line
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
    /// Holds the items of formats whose head depends on their number.
    spool: Option<BufWriter<File>>,
    items: usize,
    tokens: usize,
}

enum Destination {
    Stdout(Box<dyn Write>),
    /// Renamed to its name when complete, deleted when not.
    File {
        temporary: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
}

impl Output {
    pub(crate) fn create(
        format: Format,
        path: Option<&Path>,
        provenance: Provenance,
    ) -> Result<Self, CliError> {
        let destination = match path {
            Some(path) => {
                let dir = match path.parent() {
                    Some(dir) if dir != Path::new("") => dir,
                    _ => Path::new("."),
                };
                let temporary = NamedTempFile::new_in(dir).map_err(|source| CliError::Write {
                    to: path.display().to_string(),
                    source,
                })?;
                Destination::File {
                    temporary: BufWriter::new(temporary),
                    path: path.to_owned(),
                }
            }
            None if format == Format::Pretty => Destination::Stdout(Box::new(anstream::stdout())),
            None => Destination::Stdout(Box::new(BufWriter::new(io::stdout()))),
        };
        let spooled = matches!(format, Format::Json | Format::Npy);
        let spool = spooled
            .then(tempfile::tempfile)
            .transpose()
            .map_err(|source| CliError::Write {
                to: "a temporary file".to_owned(),
                source,
            })?
            .map(BufWriter::new);
        Ok(Self {
            format,
            provenance,
            destination,
            spool,
            items: 0,
            tokens: 0,
        })
    }

    /// Writes further embeddings.
    pub(crate) fn write(
        &mut self,
        inputs: &[Input<'_>],
        embeddings: &[Embedding],
    ) -> Result<(), CliError> {
        self.try_write(inputs, embeddings)
            .map_err(|e| self.error(e))
    }

    fn try_write(&mut self, inputs: &[Input<'_>], embeddings: &[Embedding]) -> io::Result<()> {
        let out: &mut dyn Write = match &mut self.spool {
            Some(spool) => spool,
            None => self.destination.writer(),
        };
        for (input, embedding) in inputs.iter().zip(embeddings) {
            let index = self.items;
            match self.format {
                Format::Json => json::item(out, index, embedding)?,
                Format::Jsonl => json::line(out, index, embedding)?,
                Format::Npy => npy::row(out, &embedding.values)?,
                Format::Csv => plain::csv(out, index, embedding)?,
                Format::Text => plain::text(out, &embedding.values)?,
                Format::Pretty => pretty::picture(out, index, input, embedding)?,
            }
            self.items += 1;
            self.tokens += embedding.tokens;
        }
        out.flush()
    }

    /// Writes what is left; only now does an output file appear under its name.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.try_finish().map_err(|e| self.error(e))?;
        let Destination::File { temporary, path } = self.destination else {
            return Ok(());
        };
        let failed = |source| CliError::Write {
            to: path.display().to_string(),
            source,
        };
        let temporary = temporary.into_inner().map_err(|e| failed(e.into_error()))?;
        allow_reading(temporary.as_file()).map_err(failed)?;
        temporary.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    fn try_finish(&mut self) -> io::Result<()> {
        let out = self.destination.writer();
        let spooled = match self.spool.take() {
            Some(spool) => {
                let mut file = spool.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Some(file)
            }
            None => None,
        };
        match (self.format, spooled) {
            (Format::Json, Some(mut items)) => {
                json::head(out, &self.provenance)?;
                io::copy(&mut items, out)?;
                json::tail(out, self.tokens, &self.provenance)?;
            }
            (Format::Npy, Some(mut rows)) => {
                npy::head(out, self.items, &self.provenance)?;
                io::copy(&mut rows, out)?;
            }
            (Format::Pretty, _) => pretty::footer(out, &self.provenance)?,
            _ => {}
        }
        out.flush()
    }

    fn error(&self, source: io::Error) -> CliError {
        CliError::Write {
            to: match &self.destination {
                Destination::Stdout(_) => "standard output".to_owned(),
                Destination::File { path, .. } => path.display().to_string(),
            },
            source,
        }
    }
}

impl Destination {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::File { temporary, .. } => temporary,
        }
    }
}

/// Temporary files are private; an output file is as readable as any other new file.
#[cfg(unix)]
fn allow_reading(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn allow_reading(_: &File) -> io::Result<()> {
    Ok(())
}

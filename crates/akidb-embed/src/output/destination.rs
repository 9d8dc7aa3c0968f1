//! Where output goes, and that a file appears there only when complete.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile};

use crate::error::CliError;

/// Exit status after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// Deleted when the program is interrupted: the temporary file of the only output.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Standard output, a stream such as a pipe, or a file.
pub(super) enum Destination {
    Stdout(Box<dyn Write>),
    /// A pipe or a device: there is nothing to rename.
    Stream(BufWriter<File>),
    /// Renamed to its name when complete, deleted when not.
    File {
        temporary: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
}

impl Destination {
    /// `path` as given with `--output`.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        if path.is_dir() {
            return Err(CliError::Usage(format!(
                "{} is a directory",
                path.display()
            )));
        }
        let failed = |source| CliError::Write {
            to: path.display().to_string(),
            source,
        };
        if path.exists() && !path.is_file() {
            let stream = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self::Stream(BufWriter::new(stream)));
        }
        // A link stays a link: what it points to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let mut builder = Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any new file: what the umask leaves of it.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(dir).map_err(|error| {
            failed(match dir.is_dir() {
                // Without the temporary name, which nobody knows.
                true => error.kind().into(),
                false => io::Error::new(
                    error.kind(),
                    format!("there is no directory {}", dir.display()),
                ),
            })
        })?;
        if let Ok(existing) = path.metadata() {
            let permissions = existing.permissions();
            temporary
                .as_file()
                .set_permissions(permissions)
                .map_err(failed)?;
        }
        delete_on_interrupt(temporary.path());
        Ok(Self::File {
            temporary: BufWriter::new(temporary),
            path,
        })
    }

    pub(super) fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::Stream(out) => out,
            Self::File { temporary, .. } => temporary,
        }
    }

    /// Gives a file its name.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let Self::File { temporary, path } = self else {
            return Ok(());
        };
        let failed = |source| CliError::Write {
            to: path.display().to_string(),
            source,
        };
        let temporary = temporary.into_inner().map_err(|e| failed(e.into_error()))?;
        temporary.persist(&path).map_err(|e| failed(e.error))?;
        unfinished(None);
        Ok(())
    }

    /// How errors call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::Stream(_) => "the output".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }
}

fn unfinished(path: Option<PathBuf>) -> Option<PathBuf> {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *unfinished, path)
}

/// On SIGINT, SIGTERM and SIGHUP. Where no handler can be set, the file stays behind.
fn delete_on_interrupt(path: &Path) {
    unfinished(Some(path.to_owned()));
    let handler = || {
        if let Some(path) = unfinished(None) {
            // There is nobody left to tell.
            let _: io::Result<()> = std::fs::remove_file(path);
        }
        exit(INTERRUPTED);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!(
            "an interrupt would leave {} behind: {error}",
            path.display()
        );
    }
}

//! Where a folder of units is: on this machine, or in an object store.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::claims::Claims;
use super::process::Process;

/// The folder below it that processes keep for themselves.
pub(super) const RUN: &str = "_run";

/// What each process has done, below it.
pub(super) const LOGS: &str = "_run/log";

/// What is done with files of a folder. Names are of files below it, with slashes.
pub(super) trait Storage: Send + Sync {
    /// Makes what has to be there before files are written.
    fn begin(&self) -> io::Result<()>;

    /// The names of the files right in a folder; none where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    fn has(&self, name: &str) -> io::Result<bool>;

    /// A small file; nothing where there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a file that appears when it is whole.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// There may be none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the whole another name, and says which; nothing where there is nothing.
    fn move_aside(&self) -> io::Result<Option<PathBuf>>;

    fn claims(&self, process: &Process) -> io::Result<Box<dyn Claims>>;

    fn log(&self, name: &str) -> io::Result<Box<dyn Lines>>;

    /// A new file for a unit that isn't whole; `name` tells whose.
    fn draft(&self, name: &str) -> io::Result<Draft>;

    /// Takes away what a process that is gone has left of a draft.
    fn remove_draft(&self, name: &str);

    /// Gives a file that is whole and on disk a name. False when it was there already: it stays as it is.
    fn publish(&self, draft: Draft, name: &str) -> io::Result<bool>;
}

/// A log of lines.
pub(super) trait Lines: Send + Sync {
    /// Adds a line; `now` when others should see it at once.
    fn add(&self, line: &[u8], now: bool) -> io::Result<()>;
}

/// A file that has no name that is seen, and is gone when it is dropped.
pub(super) struct Draft {
    pub(super) file: File,
    /// Where it is, for messages.
    pub(super) path: PathBuf,
    /// Its own name, where it has one.
    pub(super) named: Option<TempPath>,
}

/// A path with an ending more.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

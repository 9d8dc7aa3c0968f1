//! How a changed file is told from the one before.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A file that weights come from, as it was when this was made: make it before the file is read, so
/// that a later change is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    path: String,
    state: String,
}

impl SourceFile {
    /// Looks at the file at `path`, but doesn't open it.
    ///
    /// # Errors
    /// When there is no such file, or it can't be looked at.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = fs::metadata(&path)?;
        let modified = metadata.modified()?;
        // Before 1970 the difference has the other sign, which is an error that holds it.
        let modified = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => format!("{}", after.as_nanos()),
            Err(before) => format!("-{}", before.duration().as_nanos()),
        };
        Ok(Self {
            path: format!("{path:?}"),
            state: format!(
                "{} bytes, modified {modified} ns{}",
                metadata.len(),
                inode(&metadata)
            ),
        })
    }

    /// Its canonical path, in quotation marks.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// The path in what a [`SourceFile`] displays, where it is written there as it is.
pub(super) fn source_path(line: &str) -> Option<&Path> {
    let (path, _) = line.strip_prefix('"')?.split_once("\", ")?;
    (!path.contains('\\')).then(|| Path::new(path))
}

impl fmt::Display for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.path, self.state)
    }
}

/// Copying tools set the modification time, but not these.
#[cfg(unix)]
fn inode(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!(
        ", inode {} changed {}.{:09}",
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> &'static str {
    ""
}

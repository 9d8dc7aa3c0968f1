//! Downloads that are not complete.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::candidates;
use super::{PARTIAL, Store};
use crate::error::Error;
use crate::name::ModelId;

/// Ends the name of the file that says how far a download has come, beside that with its bytes.
pub(crate) const STATE: &str = ".state";

/// What interrupted downloads of a model have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The model.
    pub id: ModelId,
    /// Bytes that they take on the disk.
    pub bytes: u64,
}

impl Store {
    /// The models with downloads that were interrupted, or that another process is at, by name.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let Ok(models) = self.models() else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (id, directory) in candidates(&models)? {
            let Ok(id) = id.parse() else {
                continue;
            };
            let (files, bytes) = parts(&directory.join(PARTIAL))?;
            if !files.is_empty() {
                found.push(Unfinished { id, bytes });
            }
        }
        Ok(found)
    }
}

/// The file beside a download that says how far it has come.
#[cfg(feature = "hub")]
pub(crate) fn state_of(data: &Path) -> PathBuf {
    let mut state = data.as_os_str().to_owned();
    state.push(STATE);
    state.into()
}

/// The files of downloads that are not complete, and the bytes that they take.
pub(super) fn parts(partial: &Path) -> Result<(Vec<PathBuf>, u64), Error> {
    let mut files = Vec::new();
    let mut bytes = 0_u64;
    let Ok(entries) = fs::read_dir(partial) else {
        return Ok((files, bytes));
    };
    for entry in entries {
        let entry = entry.map_err(Error::read(partial))?;
        // A download that ends meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes = bytes.saturating_add(allocated(&metadata));
        files.push(entry.path());
    }
    Ok((files, bytes))
}

/// Deletes what no download goes on with: all but the files that have one of these names, and what
/// says how far they have come. Whoever calls it holds the model's lock.
pub(crate) fn delete_others(partial: &Path, keep: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(partial).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let goes = match name.strip_suffix(STATE) {
            Some(data) => !keep(data) || !partial.join(data).exists(),
            None => !keep(&name),
        };
        if goes && let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(file = %name, %error, "left in {}", partial.display());
        }
    }
}

/// Bytes on the disk: a file that is being fetched has holes.
#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks().saturating_mul(512)
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

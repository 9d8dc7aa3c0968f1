//! Downloads and imports that are not complete.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::candidates;
use super::publish::strays;
use super::{PARTIAL, Store};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::name::ModelId;

/// Ends the name of the file that says how far a download has come, beside that with its bytes.
pub(crate) const STATE: &str = ".state";

/// What interrupted downloads and imports of a model have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The model.
    pub id: ModelId,
    /// Bytes that they take on the disk.
    pub bytes: u64,
}

impl Store {
    /// The models with downloads or imports that were interrupted, or that another process is at, by
    /// name.
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
            let (files, bytes) = unfinished_files(&directory, &id)?;
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

/// The files in a model's directory that are no part of the model, and the bytes that they take.
pub(super) fn unfinished_files(
    directory: &Path,
    id: &ModelId,
) -> Result<(Vec<PathBuf>, u64), Error> {
    let partial = directory.join(PARTIAL);
    let mut files = Vec::new();
    for entry in fs::read_dir(&partial).into_iter().flatten() {
        files.push(entry.map_err(Error::read(&partial))?.path());
    }
    // Where the manifest can't be read, nobody knows what it names.
    if let Ok(installed) = Manifest::read(directory, id.as_str()) {
        let strays = strays(directory, id, installed.as_ref()).into_iter();
        files.extend(strays.map(|stray| stray.path.under(&stray.snapshot.root(directory))));
    }
    let mut bytes = 0_u64;
    files.retain(|file| {
        // One that is gone already, or goes meanwhile.
        let Ok(metadata) = fs::symlink_metadata(file) else {
            return false;
        };
        bytes = bytes.saturating_add(allocated(&metadata));
        true
    });
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

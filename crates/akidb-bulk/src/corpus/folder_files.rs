//! The files in a folder of work that tell of it, and the names of its units.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde::Serialize;

#[cfg(feature = "cloud")]
use super::cloud::ObjectStorage;
use super::error::{CorpusError, unread, unwritten};
use super::local_storage::LocalStorage;
use super::plan::Plan;
use super::storage::Storage;
#[cfg(not(feature = "cloud"))]
use super::url::NO_CLOUD;
use super::url::url_of;

pub(super) const PLAN: &str = "_run/plan.json";
pub(super) const MANIFEST: &str = "_manifest.json";

impl Plan {
    /// Whether a folder holds the beginning of this work.
    ///
    /// # Errors
    /// When it holds other work, or what it says of its work can't be read.
    pub fn is_begun_in(&self, folder: &Path) -> Result<bool, CorpusError> {
        let Some(earlier) = read_plan(folder)? else {
            return Ok(false);
        };
        match self.differences_from(&earlier) {
            differences if differences.is_empty() => Ok(true),
            differences => Err(CorpusError::OtherWork {
                folder: folder.to_owned(),
                differences,
            }),
        }
    }
}

/// The storage that a path or URL leads to.
///
/// # Errors
/// When it is a URL that isn't understood.
fn storage(folder: &Path) -> io::Result<Box<dyn Storage>> {
    if let Some(url) = url_of(folder) {
        #[cfg(feature = "cloud")]
        return Ok(Box::new(ObjectStorage::new(url)?));
        #[cfg(not(feature = "cloud"))]
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{url}: {NO_CLOUD}"),
        ));
    }
    Ok(Box::new(LocalStorage::new(folder.to_owned())))
}

/// # Errors
/// When the folder is a URL that isn't understood.
pub(super) fn open(folder: &Path) -> Result<Box<dyn Storage>, CorpusError> {
    storage(folder).map_err(|error| CorpusError::Input {
        argument: folder.display().to_string(),
        why: error.to_string(),
    })
}

pub(super) fn list(
    storage: &dyn Storage,
    path: &Path,
    folder: &str,
) -> Result<Vec<String>, CorpusError> {
    let listed = storage.list(folder);
    listed.map_err(unread(&path.join(folder)))
}

/// The names of the units that are there, planned or not.
pub(super) fn units_in(
    storage: &dyn Storage,
    path: &Path,
    plan: &Plan,
) -> Result<HashSet<String>, CorpusError> {
    let names = list(storage, path, "")?.into_iter();
    let ending = plan.settings.format.last_ending();
    let units = names.filter_map(|name| {
        let unit = name.strip_suffix(ending)?.strip_suffix('.')?;
        Some(unit.to_owned())
    });
    Ok(units.collect())
}

/// The plan of the work in a folder; nothing where none was begun.
///
/// # Errors
/// When it can't be read, or is of another version of this program.
pub fn read_plan(folder: &Path) -> Result<Option<Plan>, CorpusError> {
    let path = folder.join(PLAN);
    let content = open(folder)?.read(PLAN).map_err(unread(&path))?;
    let plan = content.map(|content| serde_json::from_slice(&content));
    plan.transpose().map_err(|error| CorpusError::Damaged {
        path,
        why: error.to_string(),
    })
}

/// Writes a file that appears when it is whole.
pub(super) fn write_json(
    storage: &dyn Storage,
    folder: &Path,
    name: &str,
    value: &impl Serialize,
) -> Result<(), CorpusError> {
    let write = || -> io::Result<()> {
        let mut content = serde_json::to_vec(value)?;
        content.push(b'\n');
        storage.write(name, &content)
    };
    write().map_err(unwritten(&folder.join(name)))
}

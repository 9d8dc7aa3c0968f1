//! Bringing files into the store.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use akidb_onnx::open_regular_file;

use super::Hub;
use super::here::{checked, in_place};
use crate::download::{Download, already_there};
use crate::error::Error;
use crate::event::{Event, Events};
use crate::hub::{Listing, RemoteFile};
use crate::manifest::FileEntry;
use crate::name::ModelId;
use crate::store::{Arrived, Store, check_space, delete_others, installed_snapshot};

impl Hub {
    /// Brings all files into the store, each with a checksum that agrees.
    pub(super) fn bring(
        &self,
        store: &Store,
        listing: &Listing,
        files: &[RemoteFile],
        events: Events<'_>,
    ) -> Result<(Vec<Arrived>, u64), Error> {
        let id = &listing.id;
        let installed = store.manifest(id)?;
        let snapshot = installed_snapshot(installed.as_ref(), listing.revision);
        let root = snapshot.root(&store.directory(id)?);
        let partial = store.partial(id)?;
        fs::create_dir_all(&partial).map_err(Error::write(&partial))?;
        delete_outdated(&partial, listing);
        let mut arrived = Vec::new();
        let mut missing = Vec::new();
        let mut needed = 0_u64;
        for file in files {
            if let Some(entry) = in_place(&root, file, events) {
                arrived.push(Arrived { entry, from: None });
                continue;
            }
            let part = partial.join(file.part_name());
            let there = already_there(&part, file.size, self.options.segment_bytes);
            needed = needed.saturating_add(file.size.saturating_sub(there));
            missing.push((file, part));
        }
        check_space(&partial, needed)?;
        let mut fetched = 0_u64;
        for (file, part) in missing {
            let (from, entry) = match self.copy_cached(store, id, file, &part, events)? {
                Some(copied) => copied,
                None => {
                    let there = already_there(&part, file.size, self.options.segment_bytes);
                    fetched = fetched.saturating_add(file.size.saturating_sub(there));
                    let download = Download {
                        http: &self.http,
                        options: &self.options,
                        file,
                        events,
                    };
                    let (from, hashes) = download.run(&part)?;
                    let entry = FileEntry {
                        path: file.path.clone(),
                        size: file.size,
                        sha256: hashes.sha256,
                    };
                    (from, entry)
                }
            };
            events(Event::Done {
                file: &file.path,
                size: file.size,
            });
            arrived.push(Arrived {
                entry,
                from: Some(from),
            });
        }
        Ok((arrived, fetched))
    }

    /// A file that the Hugging Face cache holds needn't be fetched again.
    fn copy_cached(
        &self,
        store: &Store,
        id: &ModelId,
        file: &RemoteFile,
        part: &Path,
        events: Events<'_>,
    ) -> Result<Option<(PathBuf, FileEntry)>, Error> {
        let Some(blob) = store.cached_blob(id, &file.checksum.to_string()) else {
            return Ok(None);
        };
        let mut to = part.as_os_str().to_owned();
        to.push(".copy");
        let to = PathBuf::from(to);
        let copy = || io::copy(&mut open_regular_file(&blob)?, &mut File::create(&to)?);
        if let Err(error) = copy() {
            tracing::debug!(file = %file.path, %error, "not taken from the Hugging Face cache");
            let _ = fs::remove_file(&to);
            return Ok(None);
        }
        let Some(entry) = checked(&to, file, events) else {
            let _ = fs::remove_file(&to);
            return Ok(None);
        };
        Ok(Some((to, entry)))
    }
}

/// Deletes downloads of files that the repository no longer has.
fn delete_outdated(partial: &Path, listing: &Listing) {
    let names: LazyCell<Option<HashSet<String>>, _> = LazyCell::new(|| listing.part_names());
    delete_others(partial, &|name| {
        names.as_ref().is_none_or(|names| names.contains(name))
    });
}

/// Deletes what is left of downloads of files that are in their place.
pub(super) fn forget_parts(partial: &Path, files: &[RemoteFile]) {
    let names: HashSet<String> = files.iter().map(RemoteFile::part_name).collect();
    delete_others(partial, &|name| !names.contains(name));
}

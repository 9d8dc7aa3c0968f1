//! What of a model is here already.

use std::fs;
use std::path::Path;

use super::{Hub, Pulled, Request};
use crate::catalog::CatalogEntry;
use crate::error::Error;
use crate::event::{Event, Events};
use crate::hash::hash_file;
use crate::hex::Commit;
use crate::hub::{Checksum, RemoteFile};
use crate::layout::canonical_variant;
use crate::manifest::FileEntry;
use crate::name::{ModelId, RepoPath};
use crate::store::{Installed, Store};

impl Hub {
    /// The model, if it is known without asking the hub that all of it is here.
    pub(super) fn without_network(
        &self,
        store: &Store,
        id: &ModelId,
        revision: &str,
        request: &Request,
        events: Events<'_>,
    ) -> Result<Option<Pulled>, Error> {
        let commit = revision.parse::<Commit>().ok();
        let Some(model) = store.manifest(id)? else {
            let Some(cached) = self.options.offline.then(|| store.find(id.as_str())) else {
                return Ok(None);
            };
            return cached?.map_or_else(
                || Err(Error::Offline { id: id.to_string() }),
                |model| from_cache(id, model, request).map(Some),
            );
        };
        let unsaid = self.options.offline && request.revision.is_none();
        if commit != Some(model.revision) && !unsaid {
            return Ok(None);
        }
        let wanted = match (&request.variant, store.catalog().get(id.as_str())) {
            (Some(name), _) => canonical_variant(name).to_owned(),
            (None, _) if self.options.offline => {
                let names: Vec<_> = model.variants.iter().map(|v| v.name.as_str()).collect();
                let chosen = request.machine.choose(&names);
                chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
            }
            (None, Some(entry)) if !entry.variants.is_empty() => of_catalog(entry, request),
            _ => return Ok(None),
        };
        let Some(variant) = model.variant(&wanted) else {
            return Ok(None);
        };
        let directory = store.directory(id)?;
        let root = model.root(&directory);
        let of_none = |path: &RepoPath| !model.variants.iter().any(|v| v.files.contains(path));
        let mut size = 0_u64;
        for file in &model.files {
            if !variant.files.contains(&file.path) && !of_none(&file.path) {
                continue;
            }
            if !sound(&root, file, events) {
                return Ok(None);
            }
            size = size.saturating_add(file.size);
        }
        Ok(Some(Pulled {
            id: id.clone(),
            revision: model.revision,
            variant: wanted,
            root,
            fetched: 0,
            size,
            in_hub_cache: false,
        }))
    }
}

fn of_catalog(entry: &CatalogEntry, request: &Request) -> String {
    let names: Vec<_> = entry.variants.iter().map(|v| v.name.as_str()).collect();
    let chosen = request.machine.choose(&names);
    chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
}

/// A model of the Hugging Face cache, when the hub can't be asked.
fn from_cache(id: &ModelId, model: Installed, request: &Request) -> Result<Pulled, Error> {
    let variants = model.variants()?;
    let names: Vec<_> = variants.keys().map(String::as_str).collect();
    let name = match &request.variant {
        Some(name) => canonical_variant(name),
        None => request
            .machine
            .choose(&names)
            .map(|(name, _)| name)
            .unwrap_or_default(),
    };
    let offline = || Error::Offline { id: id.to_string() };
    let size = variants.get(name).copied().ok_or_else(offline)?;
    let revision = model.revision.and_then(|r| r.parse().ok());
    Ok(Pulled {
        id: id.clone(),
        revision: revision.ok_or_else(offline)?,
        variant: name.to_owned(),
        root: model.root,
        fetched: 0,
        size,
        in_hub_cache: true,
    })
}

/// Tells of every part of a file that is read.
fn read<'e>(file: &'e RepoPath, events: Events<'e>) -> impl FnMut(u64) + 'e {
    move |bytes| events(Event::Read { file, bytes })
}

/// Whether an installed file still has its checksum.
fn sound(root: &Path, file: &FileEntry, events: Events<'_>) -> bool {
    events(Event::Checking {
        file: &file.path,
        size: file.size,
    });
    let hashed = hash_file(&file.path.under(root), false, &mut read(&file.path, events));
    let sound =
        hashed.is_ok_and(|(hashes, size)| hashes.sha256 == file.sha256 && size == file.size);
    if sound {
        events(Event::Done {
            file: &file.path,
            size: file.size,
        });
    }
    sound
}

/// The file, if it is in its place and has the hub's checksum.
pub(super) fn in_place(root: &Path, file: &RemoteFile, events: Events<'_>) -> Option<FileEntry> {
    let entry = checked(&file.path.under(root), file, events)?;
    events(Event::Done {
        file: &file.path,
        size: file.size,
    });
    Some(entry)
}

/// The file at `path`, if it has the hub's checksum.
pub(super) fn checked(path: &Path, file: &RemoteFile, events: Events<'_>) -> Option<FileEntry> {
    if !fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == file.size) {
        return None;
    }
    events(Event::Checking {
        file: &file.path,
        size: file.size,
    });
    let git = matches!(file.checksum, Checksum::Git(_));
    let (hashes, _) = hash_file(path, git, &mut read(&file.path, events)).ok()?;
    file.checksum.compare(&hashes).ok()?;
    Some(FileEntry {
        path: file.path.clone(),
        size: file.size,
        sha256: hashes.sha256,
    })
}

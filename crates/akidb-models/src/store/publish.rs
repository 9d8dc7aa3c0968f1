//! The step that makes a model visible.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Lock, Store};
use crate::error::Error;
use crate::hex::Commit;
use crate::manifest::{FileEntry, Leftover, Manifest, VariantEntry, now, snapshot, sync_directory};
use crate::name::{ModelId, RepoPath};
use crate::variants::Variant;

/// Room that is left on the disk, in bytes.
const RESERVE: u64 = 16 << 20;

/// A file that is complete and whose checksum agrees.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) entry: FileEntry,
    /// Where it lies outside the model; `None` when it is in its place already.
    pub(crate) from: Option<PathBuf>,
}

/// Puts files into their place: settings first, then weights, of these the file that a program opens
/// last, and at the very end the manifest. Without that the model isn't found; with it, it is whole.
///
/// Another revision that was installed is gone afterwards.
pub(crate) fn publish(
    store: &Store,
    _lock: &Lock,
    (id, revision, license): (&ModelId, Commit, Option<String>),
    variants: &[Variant],
    files: Vec<Arrived>,
) -> Result<Manifest, Error> {
    let directory = store.directory(id)?;
    let root = snapshot(&directory, revision);
    let before = store.manifest(id)?;
    let mut manifest = match before {
        Some(manifest) if manifest.revision == revision => manifest,
        Some(other) => {
            let mut new = Manifest::new(id.clone(), revision, license);
            let leftover = |file: FileEntry| Leftover {
                revision: other.revision,
                path: file.path,
            };
            new.leftovers = other.leftovers;
            new.leftovers.extend(other.files.into_iter().map(leftover));
            new
        }
        None => Manifest::new(id.clone(), revision, license),
    };
    let rank = |file: &Arrived| {
        let place = |v: &Variant| v.files.iter().position(|f| *f == file.entry.path);
        variants.iter().find_map(place).map_or(0, |place| place + 1)
    };
    let mut files = files;
    files.sort_by_key(rank);
    for file in &files {
        if let Some(from) = &file.from {
            put(from, &file.entry.path.under(&root))?;
        }
    }
    for file in files {
        manifest.files.retain(|f| f.path != file.entry.path);
        manifest.damaged.retain(|path| *path != file.entry.path);
        manifest.files.push(file.entry);
    }
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    for variant in variants {
        manifest.variants.retain(|v| v.name != variant.name);
        manifest.variants.push(VariantEntry {
            name: variant.name.clone(),
            files: variant.files.clone(),
            vectors: None,
        });
    }
    manifest.variants.sort_by(|a, b| a.name.cmp(&b.name));
    manifest.verified = now();
    manifest.write(&directory)?;
    if !manifest.leftovers.is_empty() {
        delete_leftovers(&mut manifest, &directory)?;
        manifest.write(&directory)?;
    }
    Ok(manifest)
}

fn put(from: &Path, to: &Path) -> Result<(), Error> {
    let put = || {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // A rename could otherwise outlive a power cut that the bytes don't.
        File::options().write(true).open(from)?.sync_all()?;
        fs::rename(from, to)
    };
    put().map_err(Error::write(to))?;
    to.parent().into_iter().for_each(sync_directory);
    Ok(())
}

/// Deletes the files of replaced revisions.
pub(super) fn delete_leftovers(manifest: &mut Manifest, directory: &Path) -> Result<(), Error> {
    let current = manifest.revision;
    for leftover in std::mem::take(&mut manifest.leftovers) {
        // It was replaced and has come back.
        if leftover.revision != current {
            let root = snapshot(directory, leftover.revision);
            delete(&leftover.path, &root, directory)?;
        }
    }
    Ok(())
}

/// Deletes a file of a model and the directories that it leaves empty, up to `stop`.
pub(super) fn delete(path: &RepoPath, root: &Path, stop: &Path) -> Result<(), Error> {
    let file = path.under(root);
    match fs::remove_file(&file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::write(&file)(e)),
        _ => {}
    }
    let mut parent = file.parent();
    while let Some(directory) = parent {
        // Fails where something is left in it.
        if directory == stop || fs::remove_dir(directory).is_err() {
            break;
        }
        parent = directory.parent();
    }
    Ok(())
}

/// Fails when the disk of `directory` has no room for `needed` bytes.
pub(crate) fn check_space(directory: &Path, needed: u64) -> Result<(), Error> {
    let free = fs4::available_space(directory).map_err(Error::read(directory))?;
    if needed > 0 && free < needed.saturating_add(RESERVE) {
        return Err(Error::NoSpace {
            path: directory.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

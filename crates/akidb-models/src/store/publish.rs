//! The step that makes a model visible.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Lock, Store};
use crate::error::Error;
use crate::hex::Commit;
use crate::layout::Variant;
use crate::manifest::{FileEntry, Leftover, Manifest, Snapshot, VariantEntry, now, sync_directory};
use crate::name::{ModelId, RepoPath};

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
/// Files that fit beside the installed ones join them. Others, of another revision or others of the
/// same names, get a directory of their own, so that the manifest never names files of both; what was
/// installed is gone afterwards.
pub(crate) fn publish(
    store: &Store,
    _lock: &Lock,
    (id, revision, license): (&ModelId, Commit, Option<String>),
    variants: &[Variant],
    mut files: Vec<Arrived>,
) -> Result<Manifest, Error> {
    let directory = store.directory(id)?;
    let before = store.manifest(id)?;
    let here = installed_snapshot(before.as_ref(), revision);
    let stays = |stray: &Leftover| {
        let mut in_place = files.iter().filter(|file| file.from.is_none());
        stray.snapshot == here && in_place.any(|file| file.entry.path == stray.path)
    };
    delete_strays(&directory, id, before.as_ref(), &stays)?;
    let mut manifest = match before {
        Some(before) => following(before, revision, license, &files),
        None => Manifest::new(id.clone(), Snapshot::first(revision), license),
    };
    for file in &files {
        let entry = &file.entry;
        manifest.files.retain(|f| f.path != entry.path);
        manifest.damaged.retain(|path| *path != entry.path);
        manifest.files.push(entry.clone());
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
    manifest.announce(&directory)?;
    let rank = |file: &Arrived| {
        let place = |v: &Variant| v.files.iter().position(|f| *f == file.entry.path);
        variants.iter().find_map(place).map_or(0, |place| place + 1)
    };
    files.sort_by_key(rank);
    let (root, here) = (manifest.root(&directory), here.root(&directory));
    for file in &files {
        let to = file.entry.path.under(&root);
        match &file.from {
            Some(from) => put(&to, || fs::rename(from, &to), from)?,
            None if root == here => {}
            None => {
                let from = file.entry.path.under(&here);
                put(&to, || share(&from, &to), &from)?;
            }
        }
    }
    Manifest::install_announced(&directory)?;
    if !manifest.leftovers.is_empty() {
        delete_strays(&directory, id, Some(&manifest), &|_| false)?;
        manifest.leftovers.clear();
        manifest.write(&directory)?;
    }
    Ok(manifest)
}

/// Where files of a revision are that are installed already, or will be where nothing is.
pub(crate) fn installed_snapshot(manifest: Option<&Manifest>, revision: Commit) -> Snapshot {
    let installed = manifest.map(Manifest::snapshot);
    let same = installed.filter(|snapshot| snapshot.revision == revision);
    same.unwrap_or(Snapshot::first(revision))
}

/// What the manifest is before it names the new files: the installed one, where they fit beside its
/// own, else a new one that names all of the old files as leftovers.
fn following(
    before: Manifest,
    revision: Commit,
    license: Option<String>,
    files: &[Arrived],
) -> Manifest {
    let snapshot = before.snapshot();
    let same = snapshot.revision == revision;
    let entries = files.iter().map(|file| &file.entry);
    if same && before.clash(entries).is_none() {
        return before;
    }
    let free = if same {
        snapshot.other()
    } else {
        Snapshot::first(revision)
    };
    let mut new = Manifest::new(before.id, free, license);
    let leftover = |file: FileEntry| Leftover {
        snapshot,
        path: file.path,
    };
    new.leftovers = before.leftovers;
    new.leftovers.extend(before.files.into_iter().map(leftover));
    new
}

/// Makes a file of a model at `to`, by `make`, of the one at `from`.
fn put(to: &Path, make: impl FnOnce() -> io::Result<()>, from: &Path) -> Result<(), Error> {
    let put = || {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // A rename could otherwise outlive a power cut that the bytes don't.
        File::options().write(true).open(from)?.sync_all()?;
        make()
    };
    put().map_err(Error::write(to))?;
    to.parent().into_iter().for_each(sync_directory);
    Ok(())
}

/// The same file in a second place, for no bytes where the file system can.
fn share(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => {
            fs::copy(from, to)?;
            File::options().write(true).open(to)?.sync_all()
        }
    }
}

/// Files that are no part of the installed model: those of a publication that was interrupted, and
/// those that were replaced.
pub(super) fn strays(
    directory: &Path,
    id: &ModelId,
    installed: Option<&Manifest>,
) -> Vec<Leftover> {
    let announced = Manifest::pending(directory, id.as_str());
    let announced = announced.into_iter().flat_map(|pending| {
        let snapshot = pending.snapshot();
        let files = pending.files.into_iter();
        files.map(move |file| Leftover {
            snapshot,
            path: file.path,
        })
    });
    let replaced = installed
        .into_iter()
        .flat_map(|m| m.leftovers.iter().cloned());
    let mut strays: Vec<_> = replaced.chain(announced).collect();
    strays.sort();
    strays.dedup();
    if let Some(installed) = installed {
        let files: HashSet<_> = installed.files.iter().map(|file| &file.path).collect();
        let snapshot = installed.snapshot();
        strays.retain(|stray| stray.snapshot != snapshot || !files.contains(&stray.path));
    }
    strays
}

/// Deletes the [`strays`], save those that stay.
pub(super) fn delete_strays(
    directory: &Path,
    id: &ModelId,
    installed: Option<&Manifest>,
    stays: &dyn Fn(&Leftover) -> bool,
) -> Result<(), Error> {
    for stray in strays(directory, id, installed) {
        if !stays(&stray) {
            delete(&stray.path, &stray.snapshot.root(directory), directory)?;
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

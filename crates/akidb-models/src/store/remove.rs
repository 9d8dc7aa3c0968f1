//! Deleting what the store installed, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::publish::{delete, delete_strays};
use super::unfinished::unfinished_files;
use super::{Installed, LAST_USED, Lock, Origin, Store};
use crate::error::Error;
use crate::layout::canonical_variant;
use crate::manifest::{MANIFEST, Manifest, NEW};
use crate::name::{ModelId, RepoPath};

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The whole model.
    All,
    /// One variant.
    Variant(String),
    /// All variants but one.
    Keep(String),
    /// Downloads and imports that are not complete, and nothing else.
    Unfinished,
}

/// What goes, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The model.
    pub id: ModelId,
    /// Its variants that go.
    pub variants: Vec<String>,
    /// Whether nothing of it stays.
    pub whole: bool,
    /// The files that go.
    pub files: Vec<PathBuf>,
    /// Bytes that this frees.
    pub bytes: u64,
}

impl Store {
    /// What [`remove`](Self::remove) would delete. Of a model that isn't installed, [`Removal::All`] is
    /// what interrupted downloads have left.
    ///
    /// # Errors
    /// When the model isn't installed, the store didn't install it, or it has no such variant.
    pub fn removal(&self, name: &str, what: &Removal) -> Result<Removed, Error> {
        let id = self.catalog().repository(name).unwrap_or(name);
        if *what == Removal::Unfinished {
            return self.parts_of(id.parse()?);
        }
        let not_ours = |model: Installed| Error::NotOurs {
            id: model.id,
            path: model.root,
        };
        if let Some(model) = self.named(name)? {
            return match &model.origin {
                Origin::Store(manifest) => self.plan(manifest, what),
                Origin::Directory | Origin::HubCache => Err(not_ours(model)),
            };
        }
        if let Some(model) = self.hub_cached().into_iter().find(|m| m.id == id) {
            return Err(not_ours(model));
        }
        // An interrupted download leaves bytes, but no model.
        if let Ok(id) = id.parse::<ModelId>()
            && *what == Removal::All
        {
            let removed = self.parts_of(id)?;
            if !removed.files.is_empty() {
                return Ok(removed);
            }
        }
        Err(self.not_installed(name))
    }

    fn parts_of(&self, id: ModelId) -> Result<Removed, Error> {
        let (files, bytes) = unfinished_files(&self.directory(&id)?, &id)?;
        Ok(Removed {
            id,
            variants: Vec::new(),
            whole: false,
            files,
            bytes,
        })
    }

    fn plan(&self, manifest: &Manifest, what: &Removal) -> Result<Removed, Error> {
        let wanted = match what {
            Removal::All | Removal::Unfinished => None,
            Removal::Variant(name) | Removal::Keep(name) => Some(canonical_variant(name)),
        };
        if let Some(wanted) = wanted
            && manifest.variant(wanted).is_none()
        {
            return Err(Error::UnknownVariant {
                id: manifest.id.to_string(),
                variant: wanted.to_owned(),
                known: manifest.variants.iter().map(|v| v.name.clone()).collect(),
            });
        }
        let goes = |name: &str| match what {
            Removal::All => true,
            Removal::Unfinished => false,
            Removal::Variant(_) => Some(name) == wanted,
            Removal::Keep(_) => Some(name) != wanted,
        };
        let names = manifest.variants.iter().map(|v| v.name.clone());
        let variants: Vec<_> = names.filter(|v| goes(v)).collect();
        let directory = self.directory(&manifest.id)?;
        let root = manifest.root(&directory);
        let paths = leaving(manifest, &variants);
        let mut files: Vec<_> = paths.iter().map(|p| p.under(&root)).collect();
        let sizes = paths
            .iter()
            .filter_map(|p| manifest.file(p))
            .map(|f| f.size);
        let mut bytes = sizes.fold(0, u64::saturating_add);
        let whole = variants.len() == manifest.variants.len();
        if whole {
            let (parts, size) = unfinished_files(&directory, &manifest.id)?;
            files.extend(parts);
            bytes = bytes.saturating_add(size);
        }
        Ok(Removed {
            id: manifest.id.clone(),
            variants,
            whole,
            files,
            bytes,
        })
    }

    /// Deletes a model, or some of its variants. Weights go first: what is left of an interrupted
    /// removal doesn't load, and removing it again completes it.
    ///
    /// # Errors
    /// As [`removal`](Self::removal), and when a file can't be deleted.
    pub fn remove(&self, name: &str, what: &Removal) -> Result<Removed, Error> {
        let id = self.removal(name, what)?.id;
        let _lock = Lock::warning(self, &id)?;
        // Another process may have changed it before the lock was there.
        let removed = self.removal(name, what)?;
        let directory = self.directory(&id)?;
        let manifest = match what {
            Removal::Unfinished => None,
            _ => self.manifest(&id)?,
        };
        let Some(mut manifest) = manifest else {
            self.remove_parts(&id)?;
            remove_empty(&directory, &self.models()?);
            return Ok(removed);
        };
        let root = manifest.root(&directory);
        let leaving = leaving(&manifest, &removed.variants);
        for path in &leaving {
            delete(path, &root, &directory)?;
        }
        if !removed.whole {
            manifest.files.retain(|f| !leaving.contains(&f.path));
            manifest.damaged.retain(|path| !leaving.contains(path));
            manifest
                .variants
                .retain(|v| !removed.variants.contains(&v.name));
            manifest.write(&directory)?;
            return Ok(removed);
        }
        self.remove_parts(&id)?;
        for name in [MANIFEST, NEW, LAST_USED] {
            let path = directory.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(Error::write(&path))?;
            }
        }
        remove_empty(&directory, &self.models()?);
        Ok(removed)
    }

    fn remove_parts(&self, id: &ModelId) -> Result<(), Error> {
        let partial = self.partial(id)?;
        match fs::remove_dir_all(&partial) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::write(&partial)(e)),
            _ => {}
        }
        self.remove_strays(id)
    }

    /// Deletes what an interrupted publication has put into place, and what one has replaced.
    /// Whoever calls it holds the model's lock.
    pub(crate) fn remove_strays(&self, id: &ModelId) -> Result<(), Error> {
        let directory = self.directory(id)?;
        // Where the manifest can't be read, nobody knows what it names.
        let Ok(installed) = self.manifest(id) else {
            return Ok(());
        };
        delete_strays(&directory, id, installed.as_ref(), &|_| false)?;
        Manifest::withdraw(&directory)?;
        match installed {
            Some(mut manifest) if !manifest.leftovers.is_empty() => {
                manifest.leftovers.clear();
                manifest.write(&directory)
            }
            _ => Ok(()),
        }
    }

    /// The ids of models that the store installed and that were neither loaded nor installed within
    /// `period`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn unused(&self, period: Duration) -> Result<Vec<ModelId>, Error> {
        let now = SystemTime::now();
        // A time in the future says that a clock was wrong, not that the model is unused.
        let recent = |time: SystemTime| now.duration_since(time).map_or(true, |age| age < period);
        let unused = |model: &Installed| {
            let manifest = model.manifest()?;
            let installed = UNIX_EPOCH.checked_add(Duration::from_secs(manifest.installed));
            let recent = installed.is_none_or(recent) || model.last_used().is_some_and(recent);
            (!recent).then(|| manifest.id.clone())
        };
        Ok(self.installed()?.iter().filter_map(unused).collect())
    }
}

/// Removes a model's directory and its owner's, unless something else is in there.
fn remove_empty(directory: &Path, models: &Path) {
    if fs::remove_dir(directory).is_ok()
        && let Some(owner) = directory.parent()
        && owner != models
    {
        let _ = fs::remove_dir(owner);
    }
}

/// The files that no variant needs when these are gone, first those that a program opens.
fn leaving(manifest: &Manifest, variants: &[String]) -> Vec<RepoPath> {
    let (go, stay): (Vec<_>, Vec<_>) = manifest
        .variants
        .iter()
        .partition(|v| variants.contains(&v.name));
    let needed = |path: &RepoPath| stay.iter().any(|v| v.files.contains(path));
    let opened = go.iter().filter_map(|v| v.files.last());
    let others = go.iter().flat_map(|v| &v.files);
    let common = manifest.files.iter().map(|f| &f.path);
    let of_a_variant = |path: &RepoPath| manifest.variants.iter().any(|v| v.files.contains(path));
    let common = common.filter(|path| stay.is_empty() && !of_a_variant(path));
    let mut paths: Vec<RepoPath> = Vec::new();
    for path in opened.chain(others).chain(common) {
        if !needed(path) && !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    paths
}

//! Where models are, and which one an id means.

mod default;
mod directory;
mod hub_cache;
mod lock;
mod publish;
mod remove;
mod unfinished;
mod verify;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::catalog::Catalog;
use crate::error::Error;
use crate::layout::ModelLayout;
use crate::manifest::Manifest;
#[cfg(feature = "hub")]
use crate::manifest::Snapshot;
use crate::name::ModelId;
use crate::similar::most_similar;

use directory::Found;
pub(crate) use directory::files;
pub use remove::{Removal, Removed};
pub use unfinished::Unfinished;
pub use verify::Verified;

pub(crate) use lock::Lock;
#[cfg(feature = "hub")]
pub(crate) use publish::installed_snapshot;
pub(crate) use publish::{Arrived, check_space, publish};
pub(crate) use unfinished::delete_others;
#[cfg(feature = "hub")]
pub(crate) use unfinished::state_of;

/// Id of the model that is part of the program.
pub const BUILTIN_MODEL: &str = "akidb-mini";

/// Where the store keeps models, in its home.
const MODELS: &str = "models";

/// In a model's directory: downloads that are not complete.
const PARTIAL: &str = ".partial";

/// In a model's directory: its modification time is when the model was last loaded.
const LAST_USED: &str = ".last-used";

/// Models on this machine.
///
/// A model that the store installed is in `{home}/models/{id}/snapshots/{revision}`, in the layout of
/// its repository, and `{home}/models/{id}/akidb-model.json` says which files belong to it. Models
/// that somebody put under `{home}/models` by hand (a directory with a `config.json`), and those in
/// the Hugging Face cache, are found too and never changed.
#[derive(Debug, Clone)]
pub struct Store {
    home: Option<PathBuf>,
    hub_cache: Option<PathBuf>,
    catalog: Catalog,
}

/// A model on this machine.
#[derive(Debug, Clone)]
pub struct Installed {
    /// What it is called.
    pub id: String,
    /// The directory with its `config.json`.
    pub root: PathBuf,
    /// The commit that its files are of, where known.
    pub revision: Option<String>,
    /// Who put it there.
    pub origin: Origin,
}

/// A model on this machine of which nothing is known.
#[derive(Debug)]
pub struct Unreadable {
    /// What it is called, going by its directory.
    pub id: String,
    /// Why its manifest can't be read.
    pub error: Error,
}

/// Who put a model where it is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// This program.
    Store(Box<Manifest>),
    /// Somebody, under the store's home.
    Directory,
    /// Another program, in the Hugging Face cache.
    HubCache,
}

impl Store {
    /// The store at `home`, beside the Hugging Face cache at `hub_cache`. Nothing is read or written
    /// yet, except the catalog's extension `{home}/catalog.json`, where there is one.
    ///
    /// # Errors
    /// When the extension of the catalog can't be read.
    pub fn open(home: Option<PathBuf>, hub_cache: Option<PathBuf>) -> Result<Self, Error> {
        let catalog = Catalog::load(home.as_deref())?;
        Ok(Self {
            home,
            hub_cache,
            catalog,
        })
    }

    /// Models that are known by name.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Directory that models are in.
    ///
    /// # Errors
    /// When the store has no home.
    pub fn models(&self) -> Result<PathBuf, Error> {
        let home = self.home.as_ref().ok_or(Error::NoHome)?;
        Ok(home.join(MODELS))
    }

    pub(crate) fn directory(&self, id: &ModelId) -> Result<PathBuf, Error> {
        Ok(id.under(&self.models()?))
    }

    pub(crate) fn partial(&self, id: &ModelId) -> Result<PathBuf, Error> {
        Ok(self.directory(id)?.join(PARTIAL))
    }

    pub(crate) fn manifest(&self, id: &ModelId) -> Result<Option<Manifest>, Error> {
        Manifest::read(&self.directory(id)?, id.as_str())
    }

    fn scan(&self) -> Result<Vec<Found>, Error> {
        let Ok(models) = self.models() else {
            return Ok(Vec::new());
        };
        let found = directory::scan(&models)?;
        match found.iter().find(|m| m.id == BUILTIN_MODEL) {
            // Vectors of the two would carry one name.
            Some(_) => Err(Error::NameTaken {
                directory: models.join(BUILTIN_MODEL),
            }),
            None => Ok(found),
        }
    }

    /// The models under the store's home that have weights, by name.
    ///
    /// # Errors
    /// When a directory or manifest can't be read, or one has the built-in model's name.
    pub fn installed(&self) -> Result<Vec<Installed>, Error> {
        let found = self.scan()?.into_iter().filter(Found::has_weights);
        found.map(|found| found.model).collect()
    }

    /// As [`installed`](Self::installed), and apart the models whose manifest can't be read.
    ///
    /// # Errors
    /// When a directory can't be read, or one has the built-in model's name.
    pub fn installed_and_unreadable(&self) -> Result<(Vec<Installed>, Vec<Unreadable>), Error> {
        let (mut models, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.scan()?.into_iter().filter(Found::has_weights) {
            match found.model {
                Ok(model) => models.push(model),
                Err(error) => unreadable.push(Unreadable {
                    id: found.id,
                    error,
                }),
            }
        }
        Ok((models, unreadable))
    }

    /// The model under the store's home that `name` means.
    fn named(&self, name: &str) -> Result<Option<Installed>, Error> {
        let mut found = self.scan()?;
        let ids = [Some(name), self.catalog.repository(name)];
        let mut ids = ids.into_iter().flatten();
        let at = ids.find_map(|id| found.iter().position(|f| f.id == id));
        at.map(|at| found.swap_remove(at).model).transpose()
    }

    /// The error for a model that is none of the store.
    pub fn not_installed(&self, name: &str) -> Error {
        let id = name.to_owned();
        match self.catalog.repository(name).unwrap_or(name) {
            BUILTIN_MODEL => Error::BuiltIn { id },
            _ => Error::NotInstalled {
                similar: self.similar(name),
                id,
            },
        }
    }

    /// The id or short name that somebody may have meant who wrote `name`.
    pub fn similar(&self, name: &str) -> Option<String> {
        let installed = self.scan().unwrap_or_default();
        let installed = installed.iter().map(|found| found.id.as_str());
        let known = self.catalog.models().iter();
        let known = known.flat_map(|m| m.aliases.iter().chain([&m.id]).map(String::as_str));
        most_similar(name, installed.chain(known)).map(str::to_owned)
    }

    /// The models in the Hugging Face cache that have all that is needed, by name.
    pub fn hub_cached(&self) -> Vec<Installed> {
        let cache = self.hub_cache.as_deref();
        cache
            .map(|cache| hub_cache::scan(cache, &self.catalog))
            .unwrap_or_default()
    }

    /// The model that `name` means: an id, or a short name of the catalog. Models of the store come
    /// before those of the Hugging Face cache. `None` when it is in neither.
    ///
    /// No network is used.
    ///
    /// # Errors
    /// When it is there and damaged: its manifest can't be read, or files are missing or have another
    /// size.
    pub fn find(&self, name: &str) -> Result<Option<Installed>, Error> {
        let model = self.model(name)?;
        model.as_ref().map_or(Ok(()), Installed::check)?;
        Ok(model)
    }

    /// As [`find`](Self::find), also when files are missing or have another size.
    ///
    /// # Errors
    /// When its manifest can't be read.
    pub fn model(&self, name: &str) -> Result<Option<Installed>, Error> {
        if let Some(model) = self.named(name)? {
            return Ok(Some(model));
        }
        let Some(cache) = &self.hub_cache else {
            return Ok(None);
        };
        let id = self.catalog.repository(name).unwrap_or(name);
        let Ok(id) = id.parse::<ModelId>() else {
            return Ok(None);
        };
        Ok(hub_cache::find(cache, &id, &self.catalog))
    }

    /// The file of that checksum in the Hugging Face cache's copy of a model.
    #[cfg(feature = "hub")]
    pub(crate) fn cached_blob(&self, id: &ModelId, checksum: &str) -> Option<PathBuf> {
        let cache = self.hub_cache.as_deref()?;
        let path = hub_cache::model_directory(cache, id)
            .join("blobs")
            .join(checksum);
        path.is_file().then_some(path)
    }

    /// The root of a model at a commit in the Hugging Face cache, if all `files` are there.
    #[cfg(feature = "hub")]
    pub(crate) fn cached_snapshot(
        &self,
        id: &ModelId,
        revision: crate::hex::Commit,
        files: &[(crate::name::RepoPath, u64)],
    ) -> Option<PathBuf> {
        let cache = self.hub_cache.as_deref()?;
        let root = Snapshot::first(revision).root(&hub_cache::model_directory(cache, id));
        let there = |(path, size): &(crate::name::RepoPath, u64)| {
            fs::metadata(path.under(&root)).is_ok_and(|m| m.is_file() && m.len() == *size)
        };
        files.iter().all(there).then_some(root)
    }
}

impl Installed {
    /// What the store wrote down about it, if it installed it.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.origin {
            Origin::Store(manifest) => Some(manifest),
            Origin::Directory | Origin::HubCache => None,
        }
    }

    /// The model's own directory in the store, above its revisions.
    fn directory(&self) -> &Path {
        let above = self.root.parent().and_then(Path::parent);
        above.unwrap_or(&self.root)
    }

    fn check(&self) -> Result<(), Error> {
        let faults = self.manifest().map(|m| m.faults(self.directory()));
        match faults {
            Some(files) if !files.is_empty() => Err(Error::Damaged {
                id: self.id.clone(),
                files,
            }),
            _ => Ok(()),
        }
    }

    /// Its variants with the bytes of their own files: as installed, or as the directory shows.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn variants(&self) -> Result<BTreeMap<String, u64>, Error> {
        if let Some(manifest) = self.manifest() {
            let size = |v| manifest.variant_size(v);
            let variants = manifest.variants.iter();
            return Ok(variants.map(|v| (v.name.clone(), size(v))).collect());
        }
        let files = directory::files(&self.root)?;
        let size = |file: &crate::name::RepoPath| files.get(file).copied().unwrap_or_default();
        let layout = ModelLayout::of(files.keys()).with_files_of_graphs(&self.root, files.keys());
        let total = |files: &[_]| files.iter().map(size).fold(0, u64::saturating_add);
        let variants = layout.variants.into_iter();
        Ok(variants.map(|v| (v.name, total(&v.files))).collect())
    }

    /// Bytes of its files: as installed, or as the directory shows.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn bytes(&self) -> Result<u64, Error> {
        if let Some(manifest) = self.manifest() {
            return Ok(manifest.size());
        }
        let files = directory::files(&self.root)?;
        Ok(files.into_values().fold(0, u64::saturating_add))
    }

    /// Notes that the model is used now. Best effort: a store that can't be written is fine.
    pub fn mark_used(&self) {
        if self.manifest().is_none() {
            return;
        }
        let path = self.directory().join(LAST_USED);
        let touch = || File::create(path)?.set_modified(SystemTime::now());
        if let Err(error) = touch() {
            tracing::debug!(model = self.id, %error, "time of use not noted");
        }
    }

    /// When the model was last loaded, if the store noted it.
    pub fn last_used(&self) -> Option<SystemTime> {
        self.manifest()?;
        let metadata = fs::metadata(self.directory().join(LAST_USED));
        metadata.and_then(|m| m.modified()).ok()
    }
}

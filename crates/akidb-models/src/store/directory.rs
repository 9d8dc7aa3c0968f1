//! Looking through directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Installed, Origin};
use crate::error::Error;
use crate::layout::ModelLayout;
use crate::manifest::Manifest;
use crate::name::{RepoPath, SNAPSHOTS};

/// What makes a directory a model that somebody put there by hand.
const CONFIG: &str = "config.json";

/// Most files that are looked at in one model: no model has nearly as many.
const MAX_FILES: usize = 10_000;

/// The directories under `models` that may hold a model, by id: `name` or `owner/name`.
pub(super) fn candidates(models: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for (name, dir) in subdirectories(models)? {
        let inner = subdirectories(&dir)?.into_iter();
        let inner = inner.filter(|(inner, _)| inner != SNAPSHOTS);
        let inner: Vec<_> = inner
            .map(|(inner, dir)| (format!("{name}/{inner}"), dir))
            .collect();
        found.push((name, dir));
        found.extend(inner);
    }
    Ok(found)
}

/// A model that is under the store's home, or why it can't be told what it is.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) model: Result<Installed, Error>,
}

impl Found {
    /// Whether it is a model to choose where none is named. Of a directory that can't be read, its
    /// own error will tell more.
    pub(super) fn has_weights(&self) -> bool {
        let model = self.model.as_ref();
        model.map_or(true, |model| match model.origin {
            Origin::Directory => files(&model.root).map_or(true, |files| {
                !ModelLayout::of(files.keys()).variants.is_empty()
            }),
            Origin::Store(_) | Origin::HubCache => true,
        })
    }
}

/// The models under `models`.
pub(super) fn scan(models: &Path) -> Result<Vec<Found>, Error> {
    let found = |(id, dir): (String, PathBuf)| {
        let model = model(&id, &dir).transpose()?;
        Some(Found { id, model })
    };
    Ok(candidates(models)?.into_iter().filter_map(found).collect())
}

fn model(id: &str, dir: &Path) -> Result<Option<Installed>, Error> {
    if let Some(manifest) = Manifest::read(dir, id)? {
        return Ok(Some(Installed {
            id: id.to_owned(),
            root: manifest.root(dir),
            revision: Some(manifest.revision.to_string()),
            origin: Origin::Store(Box::new(manifest)),
        }));
    }
    let by_hand = || Installed {
        id: id.to_owned(),
        root: dir.to_owned(),
        revision: None,
        origin: Origin::Directory,
    };
    // 1_Pooling and the like are parts of the model above them.
    let part = id.contains('/')
        && dir
            .parent()
            .is_some_and(|above| above.join(CONFIG).is_file());
    Ok((!part && dir.join(CONFIG).is_file()).then(by_hand))
}

/// Subdirectories by name, without hidden ones.
pub(super) fn subdirectories(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
        let entry = entry.map_err(Error::read(dir))?;
        let (name, path) = (
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        );
        if !name.starts_with('.') && path.is_dir() {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a model with their sizes: at its root and in the directories there.
pub(crate) fn files(root: &Path) -> Result<BTreeMap<RepoPath, u64>, Error> {
    let mut found = BTreeMap::new();
    let mut add = |dir: &Path, prefix: &str| -> Result<(), Error> {
        for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
            let entry = entry.map_err(Error::read(dir))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // A name that no repository can have is no file of a model.
            let Ok(path) = name.parse::<RepoPath>() else {
                continue;
            };
            let metadata = fs::metadata(entry.path()).map_err(Error::read(&entry.path()))?;
            if metadata.is_file() && found.len() < MAX_FILES {
                found.insert(path, metadata.len());
            }
        }
        Ok(())
    };
    add(root, "")?;
    for (name, dir) in subdirectories(root)? {
        add(&dir, &format!("{name}/"))?;
    }
    Ok(found)
}

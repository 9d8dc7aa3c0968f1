//! Models that other programs have put into the Hugging Face cache.
//!
//! `models--{owner}--{name}` holds `refs/{branch}` with a commit, and `snapshots/{commit}` with the
//! repository's layout: links to `blobs/{checksum}`, which appear when they are complete. A snapshot
//! may lack files that nobody asked for.

use std::path::{Path, PathBuf};

use akidb_onnx::read_regular_file;

use super::directory::{files, subdirectories};
use super::{Installed, Origin};
use crate::catalog::Catalog;
use crate::hex::Commit;
use crate::layout::ModelLayout;
use crate::manifest::Snapshot;
use crate::name::{ModelId, RepoPath};

const PREFIX: &str = "models--";

/// Most bytes of the file of a branch: it holds a commit.
const MAX_REF: u64 = 1 << 10;

pub(crate) fn model_directory(cache: &Path, id: &ModelId) -> PathBuf {
    cache.join(format!("{PREFIX}{}", id.flat()))
}

pub(super) fn scan(cache: &Path, catalog: &Catalog) -> Vec<Installed> {
    let id = |(name, _): (String, PathBuf)| {
        let id = name.strip_prefix(PREFIX)?.replacen("--", "/", 1);
        id.parse::<ModelId>().ok()
    };
    // What can't be read belongs to others.
    let directories = subdirectories(cache).unwrap_or_default();
    let ids = directories.into_iter().filter_map(id);
    ids.filter_map(|id| find(cache, &id, catalog)).collect()
}

/// The snapshot at the catalog's revision, else the one of the branch `main`.
pub(super) fn find(cache: &Path, id: &ModelId, catalog: &Catalog) -> Option<Installed> {
    let directory = model_directory(cache, id);
    let pinned = catalog.get(id.as_str()).and_then(|entry| entry.revision);
    let main = read_regular_file(&directory.join("refs/main"), MAX_REF).ok();
    let main = main.and_then(|text| String::from_utf8(text).ok()?.trim().parse::<Commit>().ok());
    let mut candidates = [pinned, main].into_iter().flatten();
    candidates.find_map(|revision| {
        let root = Snapshot::first(revision).root(&directory);
        complete(&root, id, catalog).then(|| Installed {
            id: id.to_string(),
            root,
            revision: Some(revision.to_string()),
            origin: Origin::HubCache,
        })
    })
}

/// Whether a snapshot has all that a model needs, as far as its names tell.
fn complete(root: &Path, id: &ModelId, catalog: &Catalog) -> bool {
    let Ok(there) = files(root) else {
        return false;
    };
    let has = |name: &str| {
        name.parse::<RepoPath>()
            .is_ok_and(|p| there.contains_key(&p))
    };
    let layout = ModelLayout::of(there.keys());
    let Some(entry) = catalog.get(id.as_str()) else {
        return has("config.json") && has("tokenizer.json") && !layout.variants.is_empty();
    };
    // Without them texts would get other vectors.
    let settings = entry.files.iter().all(|f| there.contains_key(f));
    let whole = |name: &str| {
        let known = entry.variants.iter().find(|v| v.name == name);
        known.is_none_or(|v| v.files.iter().all(|f| there.contains_key(f)))
    };
    settings && !layout.variants.is_empty() && layout.variants.iter().all(|v| whole(&v.name))
}

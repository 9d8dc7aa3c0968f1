//! Models that other programs have put into the Hugging Face cache.
//!
//! `models--{owner}--{name}` holds `refs/{branch}` with a commit, and `snapshots/{commit}` with the
//! repository's layout: links to `blobs/{checksum}`, which appear when they are complete. A snapshot
//! may lack files that nobody asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use akidb_onnx::read_regular_file;

use super::directory::{files, subdirectories};
use super::{Installed, Origin};
use crate::catalog::Catalog;
use crate::hex::Commit;
use crate::layout::ModelLayout;
use crate::manifest::Snapshot;
use crate::name::{ModelId, RepoPath, SNAPSHOTS};

const PREFIX: &str = "models--";

/// Most bytes of the file of a branch: it holds a commit.
const MAX_REF: u64 = 1 << 10;

/// Most branches that are looked at in a directory, and how deep: `refs/pr/1` is the usual depth.
const MAX_REFS: usize = 1_000;
const MAX_REF_DEPTH: usize = 4;

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

/// The snapshot at the catalog's revision, else the one of the branch `main`, else one of another
/// branch or tag, else the one that was made last (a download at a commit notes no branch).
pub(super) fn find(cache: &Path, id: &ModelId, catalog: &Catalog) -> Option<Installed> {
    let directory = model_directory(cache, id);
    let installed = |revision: Commit| {
        let root = Snapshot::first(revision).root(&directory);
        complete(&root, id, catalog).then(|| Installed {
            id: id.to_string(),
            root,
            revision: Some(revision.to_string()),
            origin: Origin::HubCache,
        })
    };
    let pinned = catalog.get(id.as_str()).and_then(|entry| entry.revision);
    let main = commit_of(&directory.join("refs/main"));
    if let Some(found) = [pinned, main].into_iter().flatten().find_map(installed) {
        return Some(found);
    }
    let refs = refs(&directory.join("refs"), MAX_REF_DEPTH);
    let others = refs.into_iter().chain(snapshots(&directory));
    let found = others.into_iter().find_map(installed)?;
    tracing::info!(
        model = found.id,
        snapshot = found.revision,
        "the Hugging Face cache has no complete snapshot of the branch main: another one is used"
    );
    Some(found)
}

/// The commit that the file of a branch or tag names.
fn commit_of(file: &Path) -> Option<Commit> {
    let text = read_regular_file(file, MAX_REF).ok()?;
    String::from_utf8(text).ok()?.trim().parse().ok()
}

/// The commits of all branches and tags, by name; names may have slashes.
fn refs(directory: &Path, depth: usize) -> Vec<Commit> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .take(MAX_REFS)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    let commits = entries.iter().flat_map(|path| match path.is_dir() {
        true if depth > 0 => refs(path, depth - 1),
        true => Vec::new(),
        false => commit_of(path).into_iter().collect(),
    });
    commits.collect()
}

/// The commits of all snapshots, the one that was made last first.
fn snapshots(directory: &Path) -> Vec<Commit> {
    let found = subdirectories(&directory.join(SNAPSHOTS)).unwrap_or_default();
    let made = |(name, path): (String, PathBuf)| {
        let made = fs::metadata(&path).and_then(|metadata| metadata.modified());
        Some((made.unwrap_or(SystemTime::UNIX_EPOCH), name.parse().ok()?))
    };
    let mut found: Vec<(SystemTime, Commit)> = found.into_iter().filter_map(made).collect();
    found.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
    found.into_iter().map(|(_, commit)| commit).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "00112233445566778899aabbccddeeff00112233";
    const SECOND: &str = "ffffffffffffffffffffffffffffffffffffffff";

    fn snapshot(cache: &Path, commit: &str) {
        let root = cache.join("models--owner--model/snapshots").join(commit);
        fs::create_dir_all(&root).unwrap();
        for file in ["config.json", "tokenizer.json", "model.onnx"] {
            fs::write(root.join(file), "{}").unwrap();
        }
    }

    fn found(cache: &Path) -> Option<String> {
        let id = "owner/model".parse().unwrap();
        find(cache, &id, &Catalog::load(None).unwrap())?.revision
    }

    #[test]
    fn a_snapshot_is_found_by_main_by_another_ref_and_by_itself() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        assert_eq!(found(cache), None);
        snapshot(cache, FIRST);
        assert_eq!(found(cache).as_deref(), Some(FIRST));
        snapshot(cache, SECOND);
        let point = |name: &str, commit: &str| {
            let path = cache.join("models--owner--model/refs").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, commit).unwrap();
        };
        for commit in [FIRST, SECOND] {
            point("pr/1", commit);
            assert_eq!(found(cache).as_deref(), Some(commit));
        }
        point("main", FIRST);
        assert_eq!(found(cache).as_deref(), Some(FIRST));
        // A snapshot that isn't whole yields to one that is.
        fs::remove_file(
            cache
                .join("models--owner--model/snapshots")
                .join(FIRST)
                .join("config.json"),
        )
        .unwrap();
        assert_eq!(found(cache).as_deref(), Some(SECOND));
    }
}

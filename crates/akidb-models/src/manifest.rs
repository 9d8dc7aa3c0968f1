//! What the store writes down about a model that it installed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hex::{Commit, Sha256};
use crate::name::{ModelId, RepoPath, SNAPSHOTS};

/// Name of a manifest, in the model's directory.
pub(crate) const MANIFEST: &str = "akidb-model.json";

/// Longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Counts the forms that manifests have had.
const FORMAT: u32 = 1;

/// An installed model. It is written after all files are in place, and so says that they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The repository.
    pub id: ModelId,
    /// Its commit.
    pub revision: Commit,
    /// As the hub names it, such as `apache-2.0`.
    pub license: Option<String>,
    /// All files, under `snapshots/{revision}`.
    pub files: Vec<FileEntry>,
    /// The weights that are here.
    pub variants: Vec<VariantEntry>,
    /// When the first of its files was put there: seconds since 1970.
    pub installed: u64,
    /// When checksums last agreed: seconds since 1970.
    pub verified: u64,
    /// Files that were missing or had another checksum when they were last looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<RepoPath>,
    /// Files of a replaced revision that are still to be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leftovers: Vec<Leftover>,
}

/// A file of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name relative to the model's root.
    pub path: RepoPath,
    /// Bytes.
    pub size: u64,
    /// Checksum.
    pub sha256: Sha256,
}

/// Weights of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantEntry {
    /// `f32`, `fp16`, `int8` …, or `safetensors`.
    pub name: String,
    /// Its files; the one that a program opens is last.
    pub files: Vec<RepoPath>,
    /// Whether its vectors were found right; `None` when nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<VectorCheck>,
}

/// The outcome of a look at a variant's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorCheck {
    /// When: seconds since 1970.
    pub at: u64,
    /// Whether they are right.
    pub right: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leftover {
    pub(crate) revision: Commit,
    pub(crate) path: RepoPath,
}

/// Seconds since 1970; 0 when the clock is before that.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

impl Manifest {
    pub(crate) fn new(id: ModelId, revision: Commit, license: Option<String>) -> Self {
        Self {
            format: FORMAT,
            id,
            revision,
            license,
            files: Vec::new(),
            variants: Vec::new(),
            installed: now(),
            verified: now(),
            damaged: Vec::new(),
            leftovers: Vec::new(),
        }
    }

    /// Parses and checks a manifest.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        let wrong = |why: &str| Err(serde_json::Error::custom(why));
        if manifest.format != FORMAT {
            return wrong("another version of this program wrote it");
        }
        let known: HashSet<_> = manifest.files.iter().map(|f| &f.path).collect();
        for variant in &manifest.variants {
            if variant.files.is_empty() || !variant.files.iter().all(|f| known.contains(f)) {
                return wrong("a variant names a file that the list of files lacks");
            }
        }
        Ok(manifest)
    }

    /// The manifest in the directory of the model `id`; `None` when there is none.
    pub(crate) fn read(directory: &Path, id: &str) -> Result<Option<Self>, Error> {
        let path = directory.join(MANIFEST);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::read(&path)(e)),
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(Error::read(&path))?;
        let manifest = Self::parse(&bytes).and_then(|manifest| match manifest.id.as_str() {
            same if same == id => Ok(manifest),
            other => Err(serde_json::Error::custom(format!(
                "it is in the directory of {id} and describes {other}"
            ))),
        });
        let manifest = manifest.map_err(|source| Error::Manifest { path, source })?;
        Ok(Some(manifest))
    }

    /// Puts it into the model's directory in one step.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(MANIFEST);
        // Whoever writes it holds the model's lock.
        let new = directory.join(format!(".{MANIFEST}.new"));
        let write = || {
            let mut file = File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_directory(directory);
            Ok(())
        };
        write().map_err(Error::write(&path))
    }

    /// The entry of a file.
    pub fn file(&self, path: &RepoPath) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == *path)
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&VariantEntry> {
        let name = crate::variants::canonical_variant(name);
        self.variants.iter().find(|v| v.name == name)
    }

    /// Whether a file that a variant needs was found damaged and has not been replaced since.
    pub fn is_damaged(&self, variant: &VariantEntry) -> bool {
        let of_another = |path: &RepoPath| {
            !variant.files.contains(path) && self.variants.iter().any(|v| v.files.contains(path))
        };
        self.damaged.iter().any(|path| !of_another(path))
    }

    /// Bytes of a variant's own files.
    pub fn variant_size(&self, variant: &VariantEntry) -> u64 {
        let size = |path| self.file(path).map_or(0, |f| f.size);
        variant.files.iter().map(size).fold(0, u64::saturating_add)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        let sizes = self.files.iter().map(|f| f.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Where its files are in the model's directory.
    pub(crate) fn root(&self, directory: &Path) -> PathBuf {
        snapshot(directory, self.revision)
    }

    /// What is wrong with its files, going by their sizes.
    pub(crate) fn faults(&self, directory: &Path) -> Vec<String> {
        let root = self.root(directory);
        let fault = |file: &FileEntry| match fs::metadata(file.path.under(&root)) {
            Ok(metadata) if metadata.is_file() && metadata.len() == file.size => None,
            Ok(metadata) => Some(format!(
                "{} has {} bytes instead of {}",
                file.path,
                metadata.len(),
                file.size
            )),
            Err(e) if e.kind() == ErrorKind::NotFound => Some(format!("{} is missing", file.path)),
            Err(e) => Some(format!("{} can't be read: {e}", file.path)),
        };
        self.files.iter().filter_map(fault).collect()
    }
}

/// Where a revision's files are in a model's directory.
pub(crate) fn snapshot(directory: &Path, revision: Commit) -> PathBuf {
    directory.join(SNAPSHOTS).join(revision.to_string())
}

/// Makes a rename last where the system can. Where it can't, a power cut may undo it, and the model
/// is fetched again.
pub(crate) fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

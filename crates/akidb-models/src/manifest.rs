//! What the store writes down about a model that it installed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use akidb_onnx::{open_regular_file, parse_json, read_regular_file};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hex::{Commit, Sha256};
use crate::name::{ModelId, RepoPath, SNAPSHOTS};

/// Name of a manifest, in the model's directory.
pub(crate) const MANIFEST: &str = "akidb-model.json";

/// Name of a manifest that is being written.
pub(crate) const NEW: &str = ".akidb-model.json.new";

/// Name of a manifest whose files are being put into their places.
const PENDING: &str = ".akidb-model.json.pending";

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
    #[serde(default, skip_serializing_if = "Slot::is_first")]
    pub(crate) slot: Slot,
    /// As the hub names it, such as `apache-2.0`.
    pub license: Option<String>,
    /// All files, under `snapshots/{revision}`, or `snapshots/{revision}.2` where others of the same
    /// revision were replaced.
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
    /// Files that were replaced as a whole and are still to be deleted.
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

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Leftover {
    #[serde(flatten)]
    pub(crate) snapshot: Snapshot,
    pub(crate) path: RepoPath,
}

/// Files of one revision in a model's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) revision: Commit,
    #[serde(default, skip_serializing_if = "Slot::is_first")]
    pub(crate) slot: Slot,
}

/// A revision has two directories: where other files take the place of the installed ones, they fill
/// the one that isn't used, and the manifest then names that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Slot {
    #[default]
    First,
    Second,
}

impl Slot {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_first(&self) -> bool {
        *self == Self::First
    }

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Snapshot {
    /// Of a revision that nothing was replaced in.
    pub(crate) fn first(revision: Commit) -> Self {
        Self {
            revision,
            slot: Slot::First,
        }
    }

    /// The other directory of the same revision.
    pub(crate) fn other(self) -> Self {
        Self {
            slot: self.slot.other(),
            ..self
        }
    }

    /// Where its files are in the model's directory.
    pub(crate) fn root(self, directory: &Path) -> PathBuf {
        let name = match self.slot {
            Slot::First => self.revision.to_string(),
            Slot::Second => format!("{}.2", self.revision),
        };
        directory.join(SNAPSHOTS).join(name)
    }
}

/// Seconds since 1970; 0 when the clock is before that.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

impl Manifest {
    pub(crate) fn new(id: ModelId, snapshot: Snapshot, license: Option<String>) -> Self {
        Self {
            format: FORMAT,
            id,
            revision: snapshot.revision,
            slot: snapshot.slot,
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
        let manifest: Self = parse_json(bytes)?;
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
        let file = match open_regular_file(&path) {
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

    /// The manifest whose files are being put into their places, or were when a process was killed;
    /// `None` when there is none. Before it is whole, no file is in its place.
    pub(crate) fn pending(directory: &Path, id: &str) -> Option<Self> {
        let bytes = read_regular_file(&directory.join(PENDING), MAX_BYTES).ok()?;
        let manifest = Self::parse(&bytes).ok()?;
        (manifest.id.as_str() == id).then_some(manifest)
    }

    /// Says which files are about to be put into their places, before the first is.
    pub(crate) fn announce(&self, directory: &Path) -> Result<(), Error> {
        self.write_to(directory, PENDING)?;
        sync_directory(directory);
        Ok(())
    }

    /// Makes the announced manifest the model's, in one step.
    pub(crate) fn install_announced(directory: &Path) -> Result<(), Error> {
        rename(PENDING, directory)
    }

    /// Withdraws what was announced, after its files are deleted.
    pub(crate) fn withdraw(directory: &Path) -> Result<(), Error> {
        let path = directory.join(PENDING);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::write(&path)(e)),
            _ => Ok(()),
        }
    }

    /// Puts it into the model's directory in one step.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Error> {
        self.write_to(directory, NEW)?;
        rename(NEW, directory)
    }

    /// Whoever writes it holds the model's lock.
    fn write_to(&self, directory: &Path, name: &str) -> Result<(), Error> {
        let path = directory.join(name);
        let write = || {
            let mut file = File::create(&path)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(Error::write(&path))
    }

    /// The first of these files that can't be put beside those of this manifest: another file has its
    /// name, or a directory.
    pub(crate) fn clash<'f>(
        &self,
        mut files: impl Iterator<Item = &'f FileEntry>,
    ) -> Option<&'f RepoPath> {
        let names: HashMap<&str, &FileEntry> =
            self.files.iter().map(|f| (f.path.as_str(), f)).collect();
        let directories: HashSet<&str> = self
            .files
            .iter()
            .flat_map(|f| f.path.directories())
            .collect();
        let clashes = |file: &&FileEntry| {
            let same_name = names.get(file.path.as_str());
            same_name.is_some_and(|here| here.sha256 != file.sha256)
                || directories.contains(file.path.as_str())
                || file.path.directories().any(|d| names.contains_key(d))
        };
        files.find(clashes).map(|file| &file.path)
    }

    /// The entry of a file.
    pub fn file(&self, path: &RepoPath) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == *path)
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&VariantEntry> {
        let name = crate::layout::canonical_variant(name);
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
        self.snapshot().root(directory)
    }

    /// Which directory its files are in.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            slot: self.slot,
        }
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

/// Makes the file of that name the manifest.
fn rename(from: &str, directory: &Path) -> Result<(), Error> {
    let path = directory.join(MANIFEST);
    fs::rename(directory.join(from), &path).map_err(Error::write(&path))?;
    sync_directory(directory);
    Ok(())
}

/// Makes a rename last where the system can. Where it can't, a power cut may undo it, and the model
/// is fetched again.
pub(crate) fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

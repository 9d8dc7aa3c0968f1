//! One file becomes a model. Nothing in it is believed: not its names, sizes or checksums.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use akidb_onnx::open_regular_file;

use super::{BundleError, MAX_FILES, MAX_MANIFEST};
use crate::error::Error;
use crate::hash::{BUFFER_BYTES, Hasher};
use crate::layout::{ModelLayout, Variant};
use crate::manifest::{FileEntry, MANIFEST, Manifest};
use crate::name::RepoPath;
use crate::store::{Arrived, BUILTIN_MODEL, Lock, Store, check_space, delete_others, publish};

/// Ends the names of files that are being unpacked.
const UNPACKED: &str = ".import";

impl Store {
    /// Installs the model in the bundle `from`, which appears when all of it is there and every
    /// checksum agrees. `replace` allows another revision to take the place of the installed one.
    /// `done` is told of every part that was copied, in bytes.
    ///
    /// # Errors
    /// When the bundle is damaged, cut off or hostile, another revision is installed, or the store
    /// can't be written.
    pub fn import(
        &self,
        from: &Path,
        replace: bool,
        done: &mut dyn FnMut(u64),
    ) -> Result<Manifest, Error> {
        let bundle = |source| Error::Bundle {
            path: from.to_owned(),
            source,
        };
        let mut file = open_regular_file(from).map_err(Error::read(from))?;
        let len = file.metadata().map_err(Error::read(from))?.len();
        let compressed = compression(&mut file).map_err(Error::read(from))?;
        if let Some(compressed) = compressed {
            return Err(bundle(BundleError::Compressed(compressed)));
        }
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(BUFFER_BYTES, file));
        // Raw: extensions of the format could name a file of any length.
        let tar = |e| bundle(BundleError::Tar(e));
        let mut entries = archive.entries().map_err(tar)?.raw(true);
        let first = entries
            .next()
            .ok_or_else(|| bundle(BundleError::NoManifest))?;
        let manifest = manifest(first.map_err(tar)?).map_err(bundle)?;
        let variants = check(&manifest, len).map_err(bundle)?;
        let id = &manifest.id;
        let lock = Lock::warning(self, id)?;
        if let Some(installed) = self.manifest(id)?.filter(|_| !replace) {
            if installed.revision != manifest.revision {
                return Err(Error::OtherRevision {
                    id: id.clone(),
                    installed: installed.revision.to_string(),
                    wanted: manifest.revision.to_string(),
                });
            }
            // Who made the bundle isn't known; who made the installed model was the user's choice.
            if let Some(path) = installed.clash(manifest.files.iter()) {
                return Err(bundle(BundleError::Differs(path.to_string())));
            }
        }
        let partial = self.partial(id)?;
        fs::create_dir_all(&partial).map_err(Error::write(&partial))?;
        // What an import that was killed has left.
        delete_others(&partial, &|name| !name.ends_with(UNPACKED));
        self.remove_strays(id)?;
        check_space(&partial, manifest.size())?;
        let mut unpacked = Unpacked(Vec::new());
        let mut arrived = Vec::new();
        let mut seen = HashSet::new();
        for entry in entries {
            let entry = entry.map_err(tar)?;
            let expected = expected(&manifest, &entry).map_err(bundle)?;
            if !seen.insert(expected.path.clone()) {
                return Err(bundle(BundleError::Unexpected(expected.path.to_string())));
            }
            let to = partial.join(format!("{}{UNPACKED}", seen.len()));
            unpacked.0.push(to.clone());
            unpack(entry, expected, &to, done).map_err(|e| match e {
                Unpack::Read(e) => bundle(e),
                Unpack::Write(e) => Error::write(&to)(e),
            })?;
            arrived.push(Arrived {
                entry: expected.clone(),
                from: Some(to),
            });
        }
        if let Some(missing) = manifest.files.iter().find(|f| !seen.contains(&f.path)) {
            return Err(bundle(BundleError::Missing(missing.path.to_string())));
        }
        let whose = (id, manifest.revision, manifest.license.clone());
        publish(self, &lock, whose, &variants, arrived).inspect_err(|_| {
            // The error that stopped it is the one to tell.
            let _ = self.remove_strays(id);
        })
    }
}

/// What a file is compressed with, going by how it begins.
fn compression(file: &mut File) -> io::Result<Option<&'static str>> {
    let mut magic = Vec::new();
    Read::by_ref(file).take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    let known: [(&[u8], _); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"PK\x03\x04", "zip"),
    ];
    let found = known.iter().find(|(begin, _)| magic.starts_with(begin));
    Ok(found.map(|(_, name)| *name))
}

/// Deletes what was unpacked and not published.
struct Unpacked(Vec<PathBuf>);

impl Drop for Unpacked {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
            if let Some(partial) = path.parent()
                && fs::remove_dir(partial).is_ok()
                && let Some(model) = partial.parent()
            {
                // Left behind by an import that failed.
                let _ = fs::remove_dir(model);
            }
        }
    }
}

fn manifest(entry: tar::Entry<'_, impl Read>) -> Result<Manifest, BundleError> {
    let named = entry.path_bytes().as_ref() == MANIFEST.as_bytes();
    if !named || !entry.header().entry_type().is_file() || entry.size() > MAX_MANIFEST {
        return Err(BundleError::NoManifest);
    }
    let mut bytes = Vec::new();
    let read = entry.take(MAX_MANIFEST).read_to_end(&mut bytes);
    read.map_err(BundleError::Tar)?;
    Manifest::parse(&bytes).map_err(BundleError::Manifest)
}

/// The variants of a manifest, by this program's own rules.
fn check(manifest: &Manifest, len: u64) -> Result<Vec<Variant>, BundleError> {
    let no_model = |why| Err(BundleError::NoModel(why));
    let mut sizes = manifest.files.iter().map(|f| f.size);
    let total = sizes.try_fold(0_u64, u64::checked_add);
    if total.is_none_or(|total| total > len) || manifest.files.len() > MAX_FILES {
        return Err(BundleError::Bomb);
    }
    if manifest.id.as_str() == BUILTIN_MODEL {
        return no_model("they have the name of the built-in model");
    }
    let mut paths = HashSet::new();
    if !manifest.files.iter().all(|f| paths.insert(f.path.as_str())) {
        return no_model("two have the same name");
    }
    if !paths.contains("config.json") || !paths.contains("tokenizer.json") {
        return no_model("config.json or tokenizer.json is missing");
    }
    if manifest.clash(manifest.files.iter()).is_some() {
        return no_model("one has the name of another's directory");
    }
    let mut layout = ModelLayout::of(manifest.files.iter().map(|f| &f.path));
    // Files that a graph names may have any name.
    for variant in &mut layout.variants {
        let exported = manifest.variant(&variant.name).into_iter();
        let named = exported.flat_map(|exported| exported.files.iter().cloned());
        let named =
            named.filter(|file| paths.contains(file.as_str()) && !variant.files.contains(file));
        let named: Vec<_> = named.collect();
        variant.files.splice(0..0, named);
    }
    if layout.variants.is_empty() {
        return no_model("there are no weights");
    }
    Ok(layout.variants)
}

/// What the manifest says of an entry.
fn expected<'m>(
    manifest: &'m Manifest,
    entry: &tar::Entry<'_, impl Read>,
) -> Result<&'m FileEntry, BundleError> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if !entry.header().entry_type().is_file() {
        return Err(BundleError::NotAFile(name));
    }
    let path: RepoPath = name.parse()?;
    let expected = manifest.file(&path);
    let expected = expected.ok_or(BundleError::Unexpected(name))?;
    if entry.size() != expected.size {
        return Err(BundleError::Size {
            file: path.to_string(),
            size: entry.size(),
            expected: expected.size,
        });
    }
    Ok(expected)
}

enum Unpack {
    Read(BundleError),
    Write(io::Error),
}

fn unpack(
    mut entry: tar::Entry<'_, impl Read>,
    expected: &FileEntry,
    to: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<(), Unpack> {
    let mut file = File::create(to).map_err(Unpack::Write)?;
    let mut hasher = Hasher::new(expected.size, false);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = expected.size;
    while left > 0 {
        let n = entry.read(&mut buffer);
        let n = n.map_err(|e| Unpack::Read(BundleError::Tar(e)))?;
        let bytes = buffer.get(..n).unwrap_or_default();
        if n == 0 || n as u64 > left {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(Unpack::Read(BundleError::Tar(cut)));
        }
        left -= n as u64;
        hasher.update(bytes);
        file.write_all(bytes).map_err(Unpack::Write)?;
        done(n as u64);
    }
    if hasher.finish().sha256 != expected.sha256 {
        let name = expected.path.to_string();
        return Err(Unpack::Read(BundleError::Checksum(name)));
    }
    Ok(())
}

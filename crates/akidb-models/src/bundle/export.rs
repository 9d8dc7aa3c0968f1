//! A model becomes one file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use akidb_onnx::open_regular_file;

use super::ExportError;
use crate::error::Error;
use crate::hash::{Hasher, hash_file};
use crate::layout::ModelLayout;
use crate::manifest::{FileEntry, MANIFEST, Manifest, Slot, Snapshot, VariantEntry};
use crate::name::ModelId;
use crate::store::{Installed, Origin, Store, check_space, files};

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The model.
    pub id: ModelId,
    /// Its variants in the bundle.
    pub variants: Vec<String>,
    /// Bytes of the bundle.
    pub bytes: u64,
}

impl Store {
    /// Writes a model into one file, which appears when it is complete. Every file's checksum is
    /// compared on the way. `done` is told of every part that was copied, in bytes;
    /// [`Installed::bytes`] says how many there are. A model of the Hugging Face cache is read once
    /// before, which isn't told.
    ///
    /// # Errors
    /// When the model isn't here or is damaged, or the file can't be written.
    pub fn export(
        &self,
        name: &str,
        to: &Path,
        done: &mut dyn FnMut(u64),
    ) -> Result<Exported, Error> {
        let model = self.find(name)?;
        let model = model.ok_or_else(|| self.not_installed(name))?;
        let manifest = describe(&model, to)?;
        let directory = match to.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        check_space(directory, manifest.size()).map_err(|error| match error {
            Error::Read { source, .. } => unwritten(to)(source),
            other => other,
        })?;
        let mut temporary = to.as_os_str().to_owned();
        temporary.push(".partial");
        let temporary = PathBuf::from(temporary);
        let result = write(&manifest, &model.root, &temporary, to, done);
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let bytes = result?;
        fs::rename(&temporary, to).map_err(unwritten(to))?;
        Ok(Exported {
            id: manifest.id,
            variants: manifest.variants.into_iter().map(|v| v.name).collect(),
            bytes,
        })
    }
}

/// The manifest of a model, also of one that the store didn't install, without what is so on this
/// machine only: the same model makes the same bundle anywhere, at any time.
fn describe(model: &Installed, to: &Path) -> Result<Manifest, Error> {
    let mut manifest = manifest_of(model, to)?;
    manifest.slot = Slot::First;
    manifest.leftovers.clear();
    // The bundle is only finished when all checksums agree.
    manifest.damaged.clear();
    manifest.installed = 0;
    manifest.verified = 0;
    for variant in &mut manifest.variants {
        variant.vectors = None;
    }
    Ok(manifest)
}

fn manifest_of(model: &Installed, to: &Path) -> Result<Manifest, Error> {
    let unknown = || Error::Export {
        path: to.to_owned(),
        source: ExportError::NoRevision(model.id.clone()),
    };
    match &model.origin {
        Origin::Store(manifest) => Ok((**manifest).clone()),
        Origin::Directory => Err(unknown()),
        Origin::HubCache => {
            let revision = model.revision.as_ref().and_then(|r| r.parse().ok());
            let revision = revision.ok_or_else(unknown)?;
            let mut manifest = Manifest::new(model.id.parse()?, Snapshot::first(revision), None);
            let there = files(&model.root)?;
            let layout = ModelLayout::of(there.keys());
            let layout = layout.with_files_of_graphs(&model.root, there.keys());
            let of_variants = layout.variants.iter().flat_map(|v| &v.files);
            for path in layout.common.iter().chain(of_variants) {
                if manifest.file(path).is_some() {
                    continue;
                }
                let file = path.under(&model.root);
                let hashed = hash_file(&file, false, &mut |_| {});
                let (hashes, size) = hashed.map_err(Error::read(&file))?;
                manifest.files.push(FileEntry {
                    path: path.clone(),
                    size,
                    sha256: hashes.sha256,
                });
            }
            let variants = layout.variants.into_iter();
            let entry = |v: crate::layout::Variant| VariantEntry {
                name: v.name,
                files: v.files,
                vectors: None,
            };
            manifest.variants = variants.map(entry).collect();
            Ok(manifest)
        }
    }
}

fn unwritten(to: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = to.to_owned();
    |error| Error::Export {
        path,
        source: error.into(),
    }
}

fn write(
    manifest: &Manifest,
    root: &Path,
    temporary: &Path,
    to: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<u64, Error> {
    let failed = || unwritten(to);
    let file = File::create(temporary).map_err(failed())?;
    let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    let json = serde_json::to_vec_pretty(manifest).map_err(|e| failed()(e.into()))?;
    let header = header(MANIFEST, json.len() as u64).map_err(failed())?;
    archive.append(&header, json.as_slice()).map_err(failed())?;
    for entry in &manifest.files {
        let header = self::header(entry.path.as_str(), entry.size);
        let header = header.map_err(|source| Error::Export {
            path: to.to_owned(),
            source: ExportError::LongName {
                file: entry.path.to_string(),
                source,
            },
        })?;
        let path = entry.path.under(root);
        let mut reader = Hashing {
            file: open_regular_file(&path).map_err(Error::read(&path))?,
            hasher: Hasher::new(entry.size, false),
            done,
        };
        archive.append(&header, &mut reader).map_err(failed())?;
        if reader.hasher.finish().sha256 != entry.sha256 {
            return Err(Error::Damaged {
                id: manifest.id.to_string(),
                files: vec![format!("{} has another checksum", entry.path)],
            });
        }
    }
    let mut file = archive.into_inner().map_err(failed())?;
    file.flush().map_err(failed())?;
    let file = file.into_inner().map_err(|e| failed()(e.into_error()))?;
    file.sync_all().map_err(failed())?;
    Ok(file.metadata().map_err(failed())?.len())
}

/// The same for the same file on every machine.
fn header(path: &str, size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// Computes a checksum of what is read.
struct Hashing<'d> {
    file: File,
    hasher: Hasher,
    done: &'d mut dyn FnMut(u64),
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        (self.done)(n as u64);
        Ok(n)
    }
}

//! Are the files still those that arrived?

use std::path::PathBuf;

use super::{Lock, Store};
use crate::error::Error;
use crate::hash::hash_file;
use crate::hex::{GitBlob, Sha256};
use crate::layout::canonical_variant;
use crate::manifest::{VectorCheck, now};
use crate::name::ModelId;

/// What reading a model again has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The model.
    pub id: String,
    /// Where its files are.
    pub root: PathBuf,
    /// Files that were read.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// Files whose checksum is another than before, or that are missing.
    pub damaged: Vec<String>,
    /// Files without a known checksum.
    pub unknown: usize,
}

impl Store {
    /// Reads an installed model's files again and compares their checksums. `read` is told of every
    /// part that was read, in bytes.
    ///
    /// # Errors
    /// When the model isn't installed, or a file can't be read. Damage is no error here.
    pub fn verify(&self, name: &str, read: &mut dyn FnMut(u64)) -> Result<Verified, Error> {
        let model = self.model(name)?;
        let model = model.ok_or_else(|| self.not_installed(name))?;
        match model.manifest() {
            Some(manifest) => self.verify_installed(&manifest.id, read),
            None => verify_others(model.id, model.root, read),
        }
    }

    /// Writes down whether the vectors of a variant are right; nothing for a model that the store
    /// didn't install.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn note_vectors(&self, id: &ModelId, variant: &str, right: bool) -> Result<(), Error> {
        let _lock = Lock::of(self, id, || {})?;
        let Some(mut manifest) = self.manifest(id)? else {
            return Ok(());
        };
        let mut variants = manifest.variants.iter_mut();
        if let Some(entry) = variants.find(|v| v.name == canonical_variant(variant)) {
            entry.vectors = Some(VectorCheck { at: now(), right });
            manifest.write(&self.directory(id)?)?;
        }
        Ok(())
    }

    fn verify_installed(&self, id: &ModelId, read: &mut dyn FnMut(u64)) -> Result<Verified, Error> {
        // A pull or a removal would look like damage.
        let lock = Lock::warning(self, id);
        let manifest = self.manifest(id)?;
        let Some(mut manifest) = manifest else {
            return Err(self.not_installed(id.as_str()));
        };
        let directory = self.directory(id)?;
        let root = manifest.root(&directory);
        let mut result = Verified {
            id: id.to_string(),
            root: root.clone(),
            files: 0,
            bytes: 0,
            damaged: Vec::new(),
            unknown: 0,
        };
        let mut damaged = Vec::new();
        for file in &manifest.files {
            let path = file.path.under(&root);
            match hash_file(&path, false, read) {
                Ok((hashes, size)) => {
                    result.files += 1;
                    result.bytes = result.bytes.saturating_add(size);
                    if hashes.sha256 != file.sha256 {
                        damaged.push(file.path.clone());
                        result
                            .damaged
                            .push(format!("{} has another checksum", file.path));
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    damaged.push(file.path.clone());
                    result.damaged.push(format!("{} is missing", file.path));
                }
                Err(e) => return Err(Error::read(&path)(e)),
            }
        }
        if lock.is_ok() {
            if damaged.is_empty() {
                manifest.verified = now();
            }
            manifest.damaged = damaged;
            // A store that can't be written can still be read and compared.
            if let Err(error) = manifest.write(&directory) {
                tracing::debug!(model = %id, %error, "outcome of verification not noted");
            }
        }
        Ok(result)
    }
}

/// Files of the Hugging Face cache are links to blobs that are named by their checksum.
fn verify_others(id: String, root: PathBuf, read: &mut dyn FnMut(u64)) -> Result<Verified, Error> {
    let mut result = Verified {
        id,
        root: root.clone(),
        files: 0,
        bytes: 0,
        damaged: Vec::new(),
        unknown: 0,
    };
    for file in super::directory::files(&root)?.into_keys() {
        let path = file.under(&root);
        let blob = path.canonicalize().map_err(Error::read(&path))?;
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        let (sha256, git) = (name.parse::<Sha256>().ok(), name.parse::<GitBlob>().ok());
        if sha256.is_none() && git.is_none() {
            result.unknown += 1;
            continue;
        }
        let (hashes, size) = hash_file(&path, git.is_some(), read).map_err(Error::read(&path))?;
        result.files += 1;
        result.bytes = result.bytes.saturating_add(size);
        if sha256.is_some_and(|expected| expected != hashes.sha256) || git != hashes.git {
            result.damaged.push(format!("{file} has another checksum"));
        }
    }
    Ok(result)
}

//! Files beside the model that hold its weights ("external data").

use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, shorten};
use crate::mmap::map_file;
use crate::proto::TensorProto;

/// The external files of one model, each mapped once.
#[derive(Debug)]
pub(crate) struct ExternalFiles {
    /// Canonical directory of the model file; none for a model that came as bytes.
    dir: Option<PathBuf>,
    mapped: Mutex<HashMap<String, Bytes>>,
}

/// Where a tensor's external data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a> {
    /// Path of the file, from the model's directory.
    pub file: &'a str,
    /// First byte.
    pub offset: u64,
    /// Number of bytes, where it is said.
    pub length: Option<u64>,
}

impl ExternalFiles {
    /// For a model that came as bytes and can't refer to files.
    pub(crate) fn none() -> Self {
        Self {
            dir: None,
            mapped: Mutex::default(),
        }
    }

    /// For the model file at `path`.
    pub(crate) fn beside(path: &Path) -> Result<Self, Error> {
        // A model in the Hugging Face cache is itself a link: what counts is where the link is.
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        Ok(Self {
            dir: Some(dir.canonicalize().map_err(ErrorKind::Io)?),
            mapped: Mutex::default(),
        })
    }

    /// The path of `file`, which must be in the model's directory.
    pub(crate) fn resolve(&self, file: &str) -> Result<PathBuf, Refusal> {
        let dir = self.dir.as_deref().ok_or(Refusal::because(
            "a model that is not in a file can't have any",
        ))?;
        resolve_in(dir, file)
    }

    /// The `len` bytes of `tensor` at `location`.
    pub(crate) fn read(
        &self,
        tensor: &str,
        location: &Location<'_>,
        len: usize,
    ) -> Result<Bytes, Error> {
        self.slice(location, len).map_err(|refusal| {
            ErrorKind::External {
                tensor: shorten(tensor),
                location: shorten(location.file),
                why: refusal.why,
                source: refusal.source,
            }
            .into()
        })
    }

    fn slice(&self, location: &Location<'_>, len: usize) -> Result<Bytes, Refusal> {
        if location.length.is_some_and(|length| length != len as u64) {
            return Err(Refusal::because(format!(
                "the shape needs {len} bytes, the length is {}",
                location.length.unwrap_or(0)
            )));
        }
        let file = self.map(location.file)?;
        let start = usize::try_from(location.offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        match range {
            Some(range) if range.end <= file.len() => Ok(file.slice(range)),
            _ => Err(Refusal::because(format!(
                "{len} bytes at offset {} are past its end at {}",
                location.offset,
                file.len()
            ))),
        }
    }

    fn map(&self, file: &str) -> Result<Bytes, Refusal> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = mapped.get(file) {
            return Ok(bytes.clone());
        }
        let path = self.resolve(file)?;
        let bytes = map_file(&path).map_err(|e| Refusal::because(e.kind().to_string()))?;
        mapped.insert(file.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// The path of `file` in the canonical directory `dir`.
///
/// A link may leave the directory in one case: inside a Hugging Face cache, from
/// `snapshots/<revision>/…` to `blobs/<hash>` of the same repository.
///
/// # Errors
/// When it is no plain path, isn't there, or leads elsewhere.
pub fn resolve_in(dir: &Path, file: &str) -> Result<PathBuf, Refusal> {
    let relative = Path::new(file);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if file.is_empty() || !plain || file.contains(['\0', '\\']) {
        return Err(Refusal::because(
            "is not a plain path inside the model's directory",
        ));
    }
    let target = dir.join(relative).canonicalize().map_err(|e| Refusal {
        why: "cannot be opened".into(),
        source: Some(e),
    })?;
    if target.starts_with(dir) || target.parent() == blobs_of(dir).as_deref() {
        Ok(target)
    } else {
        Err(Refusal::because("links out of the model's directory"))
    }
}

/// `<repository>/blobs` for a directory in `<repository>/snapshots/<revision>`.
fn blobs_of(dir: &Path) -> Option<PathBuf> {
    let snapshots = dir
        .ancestors()
        .skip(1)
        .find(|d| d.file_name().is_some_and(|name| name == "snapshots"))?;
    Some(snapshots.parent()?.join("blobs"))
}

/// Why a file is not read.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub why: String,
    /// The cause, when the system refused.
    pub source: Option<io::Error>,
}

impl Refusal {
    fn because(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            source: None,
        }
    }
}

impl<'a> Location<'a> {
    /// The `external_data` entries of `tensor`.
    ///
    /// # Errors
    /// When an entry is there twice or is no number, or there is no location.
    pub fn of(tensor: &'a TensorProto) -> Result<Self, Error> {
        let one = |key: &str| {
            let mut found = tensor.external_data.iter().filter(|e| e.key() == key);
            match (found.next(), found.next()) {
                (entry, None) => Ok(entry.map(|e| e.value())),
                _ => Err(Error::tensor(
                    tensor.name(),
                    format!("external data has two entries {key:?}"),
                )),
            }
        };
        let number = |key: &str| {
            one(key)?
                .map(|value| {
                    value.parse::<u64>().map_err(|_| {
                        let why = format!("external data: {key} {:?} is no number", shorten(value));
                        Error::tensor(tensor.name(), why)
                    })
                })
                .transpose()
        };
        Ok(Self {
            file: one("location")?
                .ok_or_else(|| Error::tensor(tensor.name(), "external data without location"))?,
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_name_is_in_the_current_directory() {
        let here = Path::new(".").canonicalize().unwrap();
        let files = ExternalFiles::beside(Path::new("model.onnx")).unwrap();
        assert_eq!(files.dir, Some(here));
    }

    #[test]
    fn blobs_belong_to_the_nearest_snapshots() {
        let blobs = |dir: &str| blobs_of(Path::new(dir));
        assert_eq!(blobs("/a/snapshots/1"), Some("/a/blobs".into()));
        assert_eq!(blobs("/a/snapshots/1/onnx"), Some("/a/blobs".into()));
        let inner = blobs("/a/snapshots/1/b/snapshots/2");
        assert_eq!(inner, Some("/a/snapshots/1/b/blobs".into()));
        assert_eq!(blobs("/a/snapshots"), None);
        assert_eq!(blobs("/a/b"), None);
    }
}

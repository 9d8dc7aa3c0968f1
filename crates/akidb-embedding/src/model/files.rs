//! The files of one model, wherever they are.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use akidb_onnx::decoder::DecoderConfig;
use serde::de::DeserializeOwned;

use super::builtin;
use crate::error::EmbedError;

pub(super) const CONFIG: &str = "config.json";

/// Largest text file of a model that is read; the published tokenizers are 1 to 35 MB.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// One model's files, in Hugging Face layout.
#[derive(Debug, Clone)]
pub(crate) struct ModelFiles {
    /// What the model is called in answers.
    pub(crate) id: String,
    /// Revision of the files, where known.
    pub(crate) revision: Option<String>,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    BuiltIn,
    Directory {
        root: PathBuf,
        /// The weights, when the user named a file rather than a directory.
        weights: Option<PathBuf>,
    },
}

impl ModelFiles {
    pub(super) fn builtin() -> Self {
        Self {
            id: builtin::BUILTIN_MODEL.to_owned(),
            revision: Some(builtin::REVISION.to_owned()),
            place: Place::BuiltIn,
        }
    }

    pub(super) fn at(id: String, root: PathBuf, weights: Option<PathBuf>) -> Self {
        Self {
            id,
            revision: revision(&root),
            place: Place::Directory { root, weights },
        }
    }

    /// The file's name as a user would look for it.
    pub(crate) fn label(&self, name: &str) -> String {
        match &self.place {
            Place::BuiltIn => format!("{}/{name}", self.id),
            Place::Directory { root, .. } => root.join(name).display().to_string(),
        }
    }

    /// The decoder's configuration, `None` when there is no config.json.
    pub(crate) fn decoder_config(&self) -> Result<Option<DecoderConfig>, akidb_onnx::Error> {
        match &self.place {
            Place::BuiltIn => builtin::file(CONFIG).map(DecoderConfig::from_json),
            Place::Directory { root, .. } => Some(root.join(CONFIG))
                .filter(|path| path.is_file())
                .map(|path| DecoderConfig::open(&path)),
        }
        .transpose()
    }

    /// The file's bytes, `None` when there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, EmbedError> {
        match &self.place {
            Place::BuiltIn => Ok(builtin::file(name).map(Cow::Borrowed)),
            Place::Directory { root, .. } => {
                read_bounded(&root.join(name)).map(|b| b.map(Cow::Owned))
            }
        }
    }

    /// The parsed file, `None` when there is no such file.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EmbedError> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| EmbedError::Json {
                file: self.label(name),
                source,
            })
    }

    /// The directory, as a user would look for it.
    pub(crate) fn directory(&self) -> String {
        match &self.place {
            Place::BuiltIn => self.id.clone(),
            Place::Directory { root, .. } => root.display().to_string(),
        }
    }

    /// The error that says that this file should be there.
    pub(crate) fn missing(&self, file: &str) -> EmbedError {
        EmbedError::MissingFile {
            model: self.directory(),
            file: file.to_owned(),
        }
    }
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, EmbedError> {
    let failed = |source| EmbedError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let size = metadata.len().min(MAX_FILE_BYTES + 1);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut limited = file.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(EmbedError::FileTooLarge {
            file: path.display().to_string(),
            limit: MAX_FILE_BYTES,
        });
    }
    Ok(Some(bytes))
}

/// The Hugging Face cache keeps a revision's files under `snapshots/<revision>`.
fn revision(root: &Path) -> Option<String> {
    let parent = root.parent()?.file_name()?;
    (parent == "snapshots")
        .then(|| root.file_name().map(|n| n.to_string_lossy().into_owned()))
        .flatten()
}

//! The files of one model, wherever they are.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use akidb_models::{ModelLayout, RepoPath};
use akidb_onnx::{parse_json, read_regular_file};
use akidb_transformer::{DecoderConfig, ModelConfig};
use serde::de::DeserializeOwned;

use super::builtin;
use crate::error::EmbedError;

pub(super) const CONFIG: &str = "config.json";

/// What sentence-transformers says of a model: prompts, and how a cross-encoder scores.
pub(super) const SENTENCE_TRANSFORMERS: &str = "config_sentence_transformers.json";

/// Largest text file of a model that is read; the published tokenizers are 1 to 35 MB.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// One model's files, in Hugging Face layout.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// What the model is called in answers.
    pub(crate) id: String,
    /// Revision of the files, where known.
    pub(crate) revision: Option<String>,
    pub(super) place: ModelPlace,
}

#[derive(Debug, Clone)]
pub(super) enum ModelPlace {
    BuiltIn,
    Directory {
        root: PathBuf,
        /// The weights, when the user named a file rather than a directory.
        weights: Option<PathBuf>,
    },
}

impl ModelFiles {
    pub(super) fn builtin() -> Result<Self, EmbedError> {
        let id = builtin::BUILTIN_MODEL.to_owned();
        if !builtin::IS_HERE {
            return Err(EmbedError::FeatureMissing {
                what: format!("the built-in model {id}"),
                feature: "builtin",
            });
        }
        Ok(Self {
            id,
            revision: Some(builtin::REVISION.to_owned()),
            place: ModelPlace::BuiltIn,
        })
    }

    pub(super) fn at(id: String, root: PathBuf, weights: Option<PathBuf>) -> Self {
        Self {
            id,
            revision: revision(&root),
            place: ModelPlace::Directory { root, weights },
        }
    }

    /// What the model is called in answers.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model's directory; `None` when it is built in.
    pub fn root(&self) -> Option<&Path> {
        match &self.place {
            ModelPlace::BuiltIn => None,
            ModelPlace::Directory { root, .. } => Some(root),
        }
    }

    /// True when a weights file was named, not a model or its directory.
    pub fn is_one_file(&self) -> bool {
        let named = |place: &ModelPlace| {
            matches!(
                place,
                ModelPlace::Directory {
                    weights: Some(_),
                    ..
                }
            )
        };
        named(&self.place)
    }

    /// Names of the files that go with any weights: settings, tokenizer, licence.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn companions(&self) -> Result<Vec<String>, EmbedError> {
        let common = self.layout()?.common;
        Ok(common.iter().map(RepoPath::to_string).collect())
    }

    pub(super) fn layout(&self) -> Result<ModelLayout, EmbedError> {
        match &self.place {
            ModelPlace::BuiltIn => {
                let names = builtin::names().filter_map(|name| name.parse().ok());
                Ok(ModelLayout::of(&names.collect::<Vec<RepoPath>>()))
            }
            ModelPlace::Directory { root, .. } => Ok(ModelLayout::read(root)?),
        }
    }

    /// The file's name as a user would look for it.
    pub fn label(&self, name: &str) -> String {
        match &self.place {
            ModelPlace::BuiltIn => format!("{}/{name}", self.id),
            ModelPlace::Directory { root, .. } => root.join(name).display().to_string(),
        }
    }

    /// The model's configuration, `None` when there is no config.json.
    ///
    /// # Errors
    /// When it can't be read, or is that of no known family.
    pub fn model_config(&self) -> Result<Option<ModelConfig>, akidb_onnx::Error> {
        match &self.place {
            ModelPlace::BuiltIn => builtin::file(CONFIG).map(ModelConfig::from_json),
            ModelPlace::Directory { root, .. } => Some(root.join(CONFIG))
                .filter(|path| path.is_file())
                .map(|path| ModelConfig::open(&path)),
        }
        .transpose()
    }

    /// The decoder's configuration, `None` when there is no config.json.
    ///
    /// # Errors
    /// When it can't be read or isn't that of a decoder.
    pub fn decoder_config(&self) -> Result<Option<DecoderConfig>, akidb_onnx::Error> {
        match &self.place {
            ModelPlace::BuiltIn => builtin::file(CONFIG).map(DecoderConfig::from_json),
            ModelPlace::Directory { root, .. } => Some(root.join(CONFIG))
                .filter(|path| path.is_file())
                .map(|path| DecoderConfig::open(&path)),
        }
        .transpose()
    }

    /// The file's bytes, `None` when there is no such file.
    ///
    /// # Errors
    /// When it can't be read or has more than 128 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, EmbedError> {
        match &self.place {
            ModelPlace::BuiltIn => Ok(builtin::file(name).map(Cow::Borrowed)),
            ModelPlace::Directory { root, .. } => {
                read_bounded(&root.join(name)).map(|b| b.map(Cow::Owned))
            }
        }
    }

    /// The parsed file, `None` when there is no such file.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EmbedError> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        parse_json(&bytes)
            .map(Some)
            .map_err(|source| EmbedError::Json {
                file: self.label(name),
                source,
            })
    }

    /// The directory, as a user would look for it.
    pub(crate) fn directory(&self) -> String {
        match &self.place {
            ModelPlace::BuiltIn => self.id.clone(),
            ModelPlace::Directory { root, .. } => root.display().to_string(),
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
    match read_regular_file(path, MAX_FILE_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) => match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
            ErrorKind::FileTooLarge => Err(EmbedError::FileTooLarge {
                file: path.display().to_string(),
                limit: MAX_FILE_BYTES,
            }),
            _ => Err(EmbedError::Read {
                path: path.to_owned(),
                source: e,
            }),
        },
    }
}

/// The Hugging Face cache keeps a revision's files under `snapshots/<revision>`.
fn revision(root: &Path) -> Option<String> {
    let parent = root.parent()?.file_name()?;
    (parent == "snapshots")
        .then(|| root.file_name().map(|n| n.to_string_lossy().into_owned()))
        .flatten()
}

//! What comes from outside and becomes a path: model ids and the names of a model's files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id, in bytes, as on the hub.
const MAX_ID: usize = 96;

/// Longest file name with its directories, in bytes.
const MAX_PATH: usize = 512;

/// Directory of a model's revisions, in its own.
pub(crate) const SNAPSHOTS: &str = "snapshots";

/// A repository on the hub: `owner/name`, or `name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(String);

/// A file of a repository, relative to its root, with `/` between directories. Never leaves the
/// directory that it is joined to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

/// Text that can't be a model's id, or the name of one of its files.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

fn wrong(text: &str, why: &'static str) -> NameError {
    NameError {
        text: text.chars().take(120).collect(),
        why,
    }
}

impl FromStr for ModelId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && !part.ends_with('.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let parts: Vec<_> = text.split('/').collect();
        let sound = text.len() <= MAX_ID
            && parts.len() <= 2
            && parts.iter().all(|p| part(p))
            // The hub allows neither, and the names of directories are made with the first.
            && !text.contains("--")
            && !text.contains("..")
            && !parts.contains(&SNAPSHOTS);
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(text, "is not a model id of the form owner/name"))
        }
    }
}

impl ModelId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One directory or file name that stands for it.
    pub(crate) fn flat(&self) -> String {
        self.0.replace('/', "--")
    }

    /// Where it is under a directory of models.
    pub(crate) fn under(&self, models: &Path) -> PathBuf {
        self.0.split('/').fold(models.to_owned(), |p, s| p.join(s))
    }
}

impl FromStr for RepoPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(wrong(text, "is empty or too long for a file name"));
        }
        let part = |part: &str| {
            !part.is_empty()
                && part.len() <= 255
                // Also "." and "..", and the store's own files.
                && !part.starts_with('.')
                // Windows drops these, so that two names would be one.
                && !part.ends_with(['.', ' '])
                && !part.contains(|c: char| c.is_control() || "\\:*?\"<>|".contains(c))
        };
        if text.split('/').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(text, "is not the name of a file inside a model"))
        }
    }
}

impl RepoPath {
    /// A path that a listing of a directory gave, which may have names that no repository has.
    pub(crate) fn listed(path: String) -> Self {
        Self(path)
    }

    /// The path as text, with `/` between directories.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its directory (empty at the root) and its file name.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The directories that it is in, under the model's root.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/');
        ends.filter_map(|(end, _)| self.0.get(..end))
    }

    /// Where it is under the model's root.
    pub fn under(&self, root: &Path) -> PathBuf {
        self.0.split('/').fold(root.to_owned(), |p, s| p.join(s))
    }
}

macro_rules! text {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

text!(ModelId);
text!(RepoPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_hub() {
        for id in ["gpt2", "Qwen/Qwen3-Embedding-0.6B", "a_b/c.d-e"] {
            assert_eq!(id.parse::<ModelId>().unwrap().as_str(), id);
        }
        let long = "a".repeat(97);
        for id in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            ".a",
            "a/.b",
            "-a",
            "a--b",
            "a b",
            "a\\b",
            "a/b:c",
            "é",
            "a/snapshots",
            "a.",
            &long,
        ] {
            assert!(id.parse::<ModelId>().is_err(), "{id}");
        }
    }

    #[test]
    fn no_file_name_leaves_its_directory() {
        for path in [
            "config.json",
            "onnx/model.onnx_data",
            "1_Pooling/config.json",
            "a b.txt",
        ] {
            assert_eq!(path.parse::<RepoPath>().unwrap().as_str(), path);
        }
        let long = "a/".repeat(300) + "b";
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "..\\a",
            "C:/a",
            "a:b",
            "a\0b",
            "a\nb",
            ".git/config",
            "a/.b",
            "a.",
            "a /b",
            &long,
        ] {
            assert!(path.parse::<RepoPath>().is_err(), "{path}");
        }
    }
}

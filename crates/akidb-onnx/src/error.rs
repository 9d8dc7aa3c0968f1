//! The crate's error: which file, and what is wrong with it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::lfs::LfsPointer;

/// Something is wrong with a file, or it is not of a kind this crate knows.
///
/// Displays as `path: what`; names from the file are shortened.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    kind: Box<ErrorKind>,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file can't be opened, looked at or mapped.
    #[error("cannot be read")]
    Io(#[source] io::Error),
    /// The file can't be created or written.
    #[error("cannot be written")]
    Write(#[source] io::Error),
    /// A directory, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// No bytes at all.
    #[error("is empty")]
    EmptyFile,
    /// What Git LFS leaves in the place of a file that it has not fetched.
    #[error(transparent)]
    LfsPointer(#[from] LfsPointer),
    /// Somebody wrote to the file while it was in use.
    #[error(
        "was changed while it was in use (it had {mapped} bytes, it has {now}): put new files in the \
         place of old ones by renaming, and load the model again"
    )]
    Changed {
        /// Its length when it was mapped.
        mapped: u64,
        /// Its length now.
        now: u64,
    },
    /// A directory without any.
    #[error("has no .onnx or .safetensors file")]
    NoModelFile,
    /// Decoding would need too much memory.
    #[error("would need more than {limit} bytes of memory, weights aside")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// Messages inside messages.
    #[error("is nested deeper than {limit} messages")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// Not protobuf, or cut off.
    #[error("is not an ONNX file or is cut off: {why} at byte {offset}")]
    Malformed {
        /// What is wrong there.
        why: &'static str,
        /// Where, from the beginning of the file.
        offset: usize,
    },
    /// Protobuf, but not ONNX.
    #[error("is not an ONNX file")]
    Decode(#[source] prost::DecodeError),
    /// The graph breaks a rule of ONNX.
    #[error("graph: {0}")]
    Graph(String),
    /// A tensor contradicts itself or has a type this crate can't read.
    #[error("tensor {tensor:?}: {why}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong.
        why: String,
    },
    /// A tensor's external data is missing, too short, or outside the model's directory.
    #[error("tensor {tensor:?}: external data {location:?}: {why}")]
    External {
        /// Name of the tensor.
        tensor: String,
        /// The file, as the tensor names it.
        location: String,
        /// What is wrong.
        why: String,
        /// The cause, when the system refused.
        #[source]
        source: Option<io::Error>,
    },
    /// A run that would hold too much memory, or whose memory can't be told.
    #[error("node {node}: {why}")]
    Run {
        /// The node's name and operator.
        node: String,
        /// What is wrong.
        why: String,
    },
    /// A sound model, but not a decoder of the known family and form.
    #[error("node {node:?} ({op_type}) is not recognised: {why}")]
    NotRecognised {
        /// The node's name, or its output's where it has none.
        node: String,
        /// Its operator, with the domain unless it is ONNX's own.
        op_type: String,
        /// What was expected.
        why: String,
    },
    /// A sound model of a kind that can't be done this with.
    #[error("{0}")]
    UnsupportedModel(String),
    /// A safetensors header or index that can't be read.
    #[error("is not a safetensors file: {0}")]
    Safetensors(String),
    /// Not JSON, or a value of the wrong type.
    #[error("is not valid")]
    Json(#[source] serde_json::Error),
    /// `config.json` lacks a value or holds an impossible one.
    #[error("config.json: {key}: {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// `config.json` asks for something this crate doesn't do.
    #[error("unsupported, because config.json says {key} = {value}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A static shape that no graph can be written for.
    #[error("shape {0}")]
    Shape(String),
    /// A `coreml.json` that contradicts itself or the files that it names.
    #[error("{0}")]
    Manifest(String),
    /// `config.json` and the graph contradict each other.
    #[error("{0}")]
    Disagreement(Disagreement),
}

/// A number that `config.json` and the graph don't agree on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Disagreement {
    /// The key in `config.json`.
    pub key: &'static str,
    /// Its value there.
    pub config: String,
    /// Its value in the graph.
    pub graph: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, config, graph } = self;
        write!(f, "config.json says {key} {config}, the graph has {graph}")
    }
}

impl Error {
    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The file, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// True when the file is sound and only of an unknown architecture, so that another backend
    /// may run it.
    pub fn is_not_recognised(&self) -> bool {
        matches!(*self.kind, ErrorKind::NotRecognised { .. })
    }

    /// The same error, about `path` unless a file is named already.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// The graph breaks a rule.
    pub fn graph(why: impl Into<String>) -> Self {
        ErrorKind::Graph(why.into()).into()
    }

    /// Something is wrong with the tensor of this name.
    pub fn tensor(tensor: &str, why: impl Into<String>) -> Self {
        ErrorKind::Tensor {
            tensor: shorten(tensor),
            why: why.into(),
        }
        .into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self {
            path: None,
            kind: Box::new(kind),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.kind)
    }
}

/// The name as people are shown it: a hostile file's names can be megabytes long or hold the
/// escape sequences of a terminal.
pub fn shorten(name: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = name
        .chars()
        .take(LONGEST)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_and_hold_no_control_characters() {
        assert_eq!(shorten("é"), "é");
        let long = "é".repeat(5000);
        assert_eq!(shorten(&long).chars().count(), 201);
        assert_eq!(shorten("a\u{1b}[31m"), "a\u{fffd}[31m");
    }

    #[test]
    fn the_first_path_stays() {
        let error = Error::from(ErrorKind::EmptyFile)
            .at(Path::new("a"))
            .at(Path::new("b"));
        assert_eq!(error.to_string(), "a: is empty");
    }
}

//! What is known of a model's vectors.

use std::io::{ErrorKind, Read};
use std::path::Path;

use akidb_onnx::open_regular_file;
use serde::Deserialize;

use crate::error::Error;
use crate::name::RepoPath;

/// Longest file that is read, in bytes: the compiled-in ones have 35 kB.
const MAX_BYTES: u64 = 16 << 20;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!($name))),*]
    };
}

/// Those of the compiled-in catalog; `scripts/make_verify_goldens.py` writes them.
static COMPILED_IN: &[(&str, &str)] = files![
    "goldens/akidb-mini.jsonl",
    "goldens/all-minilm-l6-v2.jsonl",
    "goldens/qwen3-embedding-0.6b.jsonl",
];

/// Known vectors and similarities of a model in f32. In its file each is a line of JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Goldens {
    /// Who made them.
    pub source: String,
    /// Of texts without a prompt.
    pub vectors: Vec<GoldenVector>,
    /// Between queries, with the query prompt, and documents.
    pub similarities: Vec<GoldenSimilarity>,
}

/// A text and its vector.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenVector {
    /// The text.
    pub text: String,
    /// Its vector, of length 1.
    pub vector: Vec<f32>,
}

/// How similar a query and a document are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenSimilarity {
    /// The query, without its prompt.
    pub query: String,
    /// The document.
    pub document: String,
    /// Cosine of their vectors.
    pub similarity: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Source { source: String },
    Vector(GoldenVector),
    Similarity(GoldenSimilarity),
}

impl Goldens {
    /// The file `path` in `home`, else the compiled-in one of that name.
    pub(crate) fn open(path: &RepoPath, home: Option<&Path>) -> Result<Self, Error> {
        let what = |home: &Path| path.under(home);
        if let Some(own) = home.map(what) {
            match open_regular_file(&own) {
                Ok(file) => {
                    let mut text = String::new();
                    let read = file.take(MAX_BYTES).read_to_string(&mut text);
                    read.map_err(Error::read(&own))?;
                    return Self::parse(&text, &own.display().to_string());
                }
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => return Err(Error::read(&own)(e)),
            }
        }
        let compiled_in = COMPILED_IN.iter().find(|(name, _)| *name == path.as_str());
        match compiled_in {
            Some((name, text)) => Self::parse(text, name),
            None => {
                let missing = std::io::Error::from(ErrorKind::NotFound);
                let own = home.map_or_else(|| Path::new(path.as_str()).to_owned(), what);
                Err(Error::read(&own)(missing))
            }
        }
    }

    fn parse(text: &str, what: &str) -> Result<Self, Error> {
        let mut goldens = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = serde_json::from_str(line).map_err(|source| Error::Json {
                what: format!("{what}, line {number}"),
                source,
            })?;
            match line {
                Line::Source { source } => goldens.source = source,
                Line::Vector(vector) => goldens.vectors.push(vector),
                Line::Similarity(similarity) => goldens.similarities.push(similarity),
            }
        }
        Ok(goldens)
    }
}

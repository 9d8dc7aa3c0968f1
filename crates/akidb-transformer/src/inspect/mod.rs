//! What is in a model's files, for people and programs to read.

mod onnx;
mod render;
mod safetensors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use onnx::inspect_onnx;
pub use safetensors::inspect_safetensors;

use crate::config::DecoderConfig;
use crate::families::ModelConfig;
use crate::transformer::Transformer;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::safetensors::{INDEX_FILE, SINGLE_FILE};
use akidb_onnx::{Disagreement, Error, ErrorKind};

/// What was found at a path. Displays as a report of several lines.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// `config.json` in the model's directory, or the one above an `onnx` directory.
    pub config: Option<ConfigFile>,
    /// The model files: one, or those of a directory by name.
    pub files: Vec<ModelFile>,
}

/// A `config.json`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of the model.
    pub config: Option<ModelConfig>,
    /// Why it says nothing.
    pub error: Option<String>,
}

/// One model file.
#[derive(Debug, Clone, Serialize)]
pub struct ModelFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size on disk, in bytes, files that it refers to aside.
    pub bytes: u64,
    /// What is in it, or why it can't be read.
    #[serde(flatten)]
    pub content: Content,
}

/// What is in a model file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// An ONNX graph.
    Onnx(Box<OnnxFile>),
    /// Tensors without a graph.
    Safetensors(Box<TensorFile>),
    /// Neither.
    Error(String),
}

/// An ONNX file.
#[derive(Debug, Clone, Serialize)]
pub struct OnnxFile {
    /// Version of the file format.
    pub ir_version: i64,
    /// Program that wrote the file, and its version.
    pub producer: String,
    /// Version of each operator domain; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// What the graph takes.
    pub inputs: Vec<Value>,
    /// What the graph gives.
    pub outputs: Vec<Value>,
    /// How often each operator occurs, by domain.
    pub operators: BTreeMap<String, BTreeMap<String, usize>>,
    /// The tensors and what they make.
    #[serde(flatten)]
    pub tensors: TensorFile,
}

/// Tensors, and what they were recognised as.
#[derive(Debug, Clone, Serialize)]
pub struct TensorFile {
    /// How most bytes of linear layers' weights are stored: `f32`, `f16`, `bf16`, `int8`, `uint8`,
    /// or with the length of blocks such as `q4 block 32`, `nf4 block 64`.
    pub precision: Option<String>,
    /// Bytes of linear layers' weights by how they are stored, scales aside.
    pub linear_bytes: BTreeMap<String, u64>,
    /// Bytes of all constants by type.
    pub constant_bytes: BTreeMap<String, u64>,
    /// Other files that hold constants.
    pub external_files: Vec<ExternalFile>,
    /// What the model is.
    pub architecture: Architecture,
    /// Where `config.json` says otherwise.
    pub disagreements: Vec<Disagreement>,
}

/// Input or output of a graph.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Element type, such as `i64`; `?` when the file doesn't say or it is no tensor.
    pub dtype: String,
    /// Shape, when its rank is known.
    pub shape: Option<Vec<Dim>>,
}

/// Length of an axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Dim {
    /// Always the same.
    Fixed(i64),
    /// Varies; `?` when it has no name.
    Named(String),
}

/// A file that another one refers to.
#[derive(Debug, Clone, Serialize)]
pub struct ExternalFile {
    /// Its path, from the directory of the file that refers to it.
    pub path: String,
    /// Its size on disk, when it is there.
    pub bytes: Option<u64>,
    /// How many bytes it must have.
    pub needed: u64,
    /// Why it can't be used.
    pub error: Option<String>,
}

/// What a model is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// A decoder of the Qwen3 family.
    Decoder(DecoderConfig),
    /// A transformer of another kind.
    Encoder(EncoderSummary),
    /// Something else; why it is not a decoder.
    NotRecognised(String),
    /// It can't be told, because files are missing or broken.
    Broken(String),
}

/// Looks at an `.onnx` file, a safetensors file, or all of a directory's model files (in it and
/// in its `onnx` directory).
///
/// Of the constants, only scales, zero points and a few rows of rotary tables are read.
///
/// # Errors
/// When the path or the one file that it names can't be read, or a directory has no model file. In
/// a directory, a broken file is an entry of its own.
pub fn inspect(path: &Path) -> Result<Inspection, Error> {
    let metadata = fs::metadata(path).map_err(|e| Error::from(ErrorKind::Io(e)).at(path))?;
    let paths = if metadata.is_dir() {
        model_files(path).map_err(|e| Error::from(ErrorKind::Io(e)).at(path))?
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        return Err(Error::from(ErrorKind::NoModelFile).at(path));
    }
    let config = config_file(if metadata.is_dir() {
        path
    } else {
        parent(path)
    });
    let known = config.as_ref().and_then(|c| c.config.as_ref());
    let mut files = Vec::new();
    for file in paths {
        let content = match content(&file, known) {
            Err(error) if metadata.is_dir() => Content::Error(chain(&error)),
            content => content?,
        };
        let bytes = fs::metadata(&file).map_or(0, |m| m.len());
        files.push(ModelFile {
            path: file,
            bytes,
            content,
        });
    }
    Ok(Inspection { config, files })
}

fn content(path: &Path, config: Option<&ModelConfig>) -> Result<Content, Error> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    if name.ends_with(".safetensors") || name == INDEX_FILE {
        inspect_safetensors(path, config).map(|file| Content::Safetensors(Box::new(file)))
    } else {
        let file = inspect_onnx(&OnnxModel::open(path)?, config);
        Ok(Content::Onnx(Box::new(file)))
    }
}

fn model_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in [dir, &dir.join("onnx")] {
        if !dir.is_dir() {
            continue;
        }
        let in_parts = dir.join(INDEX_FILE).exists() && !dir.join(SINGLE_FILE).exists();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let wanted = match path.extension().and_then(|e| e.to_str()) {
                Some("onnx") => true,
                Some("safetensors") => !in_parts,
                _ => in_parts && path.ends_with(INDEX_FILE),
            };
            if wanted {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn config_file(dir: &Path) -> Option<ConfigFile> {
    let here = dir.join("config.json");
    let above = parent(dir).join("config.json");
    let path = if here.exists() {
        here
    } else if dir.ends_with("onnx") && above.exists() {
        above
    } else {
        return None;
    };
    let (config, error) = match ModelConfig::open(&path) {
        Ok(config) => (Some(config), None),
        Err(error) => (None, Some(chain(&error))),
    };
    Some(ConfigFile {
        path,
        config,
        error,
    })
}

/// Sizes of a transformer, named as in `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncoderSizes {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Longest text in tokens.
    pub max_tokens: usize,
}

/// A transformer in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncoderSummary {
    /// Its sizes.
    #[serde(flatten)]
    pub sizes: EncoderSizes,
    /// As [`Transformer::is_quantized`].
    pub is_quantized: bool,
}

impl EncoderSummary {
    fn of(model: &Transformer) -> Self {
        Self {
            sizes: EncoderSizes::of(model),
            is_quantized: model.is_quantized(),
        }
    }
}

impl EncoderSizes {
    pub(crate) fn of(model: &Transformer) -> Self {
        let config = model.decoder_config();
        Self {
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            max_tokens: model.max_tokens,
        }
    }
}

impl Architecture {
    fn of_error(error: &Error) -> Self {
        if error.is_not_recognised() {
            Self::NotRecognised(error.kind().to_string())
        } else {
            Self::Broken(chain(error))
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The type with the most bytes.
fn most(bytes: &BTreeMap<String, u64>) -> Option<String> {
    bytes
        .iter()
        .max_by_key(|(_, bytes)| **bytes)
        .map(|(dtype, _)| dtype.clone())
}

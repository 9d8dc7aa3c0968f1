//! Opens what [`write`](super::write()) wrote.

use std::path::{Path, PathBuf};

use super::manifest::{INPUTS_EMBEDS, LAST_HIDDEN_STATE, LAST_TOKEN, Manifest, ShapeFile};
use super::operators::MAX_DIMENSION;
use super::shape::{MAX_SHAPES, StaticShape, check_tokens};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ValueInfoProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::resolve_in;
use akidb_onnx::safetensors::SafetensorsFile;
use akidb_onnx::stated::Stated;
use akidb_onnx::{Error, ErrorKind, shorten};
use akidb_onnx::{parse_json, read_small};
use akidb_transformer::EmbeddingTable;

/// Longest manifest that is read, in bytes: 64 shapes take about 8 000.
const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The version of [`Manifest`] that is written and read.
pub(super) const VERSION: u32 = 1;

/// A manifest and the files that it names, which agree with it.
#[derive(Debug)]
pub struct StaticFiles {
    /// What the manifest says.
    pub manifest: Manifest,
    /// One vector a token.
    pub embed_tokens: EmbeddingTable,
    /// From the fewest tokens on.
    pub graphs: Vec<StaticGraph>,
}

/// A graph and the one shape that it takes.
#[derive(Debug)]
pub struct StaticGraph {
    /// Its shape.
    pub shape: StaticShape,
    /// The graph; its weights are not read.
    pub model: OnnxModel,
}

/// Opens the files that the manifest at `path` names.
///
/// # Errors
/// When the manifest is broken or of another version, a file of it is missing, broken or outside
/// its directory, or a table or a graph has another shape than it says.
pub fn read(path: &Path) -> Result<StaticFiles, Error> {
    let manifest = read_manifest(path)?;
    check(&manifest).map_err(|e| e.at(path))?;
    let files = Directory::of(path)?;
    let table = &manifest.embed_tokens;
    let embed_tokens = SafetensorsFile::open(&files.find(&table.file)?)?
        .tensor(&table.tensor)?
        .ok_or_else(|| Error::tensor(&table.tensor, "is missing"))
        .and_then(EmbeddingTable::new)
        .map_err(|e| e.at(path))?;
    let found = (embed_tokens.vocab_size(), embed_tokens.hidden_size());
    if found != (manifest.vocab_size, manifest.hidden_size) {
        return Err(contradiction(format!(
            "it says vocab_size {} and hidden_size {}, the embedding table has {} and {}",
            manifest.vocab_size, manifest.hidden_size, found.0, found.1
        ))
        .at(path));
    }
    let mut graphs = Vec::with_capacity(manifest.shapes.len());
    for file in &manifest.shapes {
        let model = OnnxModel::open(&files.find(&file.file)?)?;
        check_graph(&model, file, manifest.hidden_size).map_err(|e| model.locate(e))?;
        graphs.push(StaticGraph {
            shape: shape(file),
            model,
        });
    }
    graphs.sort_by_key(|graph| (graph.shape.tokens(), graph.shape.sequence));
    Ok(StaticFiles {
        manifest,
        embed_tokens,
        graphs,
    })
}

pub(super) fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let json = read_small(path, MAX_MANIFEST_BYTES)?;
    parse_json(&json).map_err(|e| Error::from(ErrorKind::Json(e)).at(path))
}

fn shape(file: &ShapeFile) -> StaticShape {
    StaticShape {
        batch: file.batch,
        sequence: file.sequence,
    }
}

fn check(manifest: &Manifest) -> Result<(), Error> {
    let Manifest {
        version,
        shapes,
        hidden_size,
        vocab_size,
        ..
    } = manifest;
    if *version != VERSION {
        return Err(contradiction(format!(
            "it is of version {version}, this program reads version {VERSION}"
        )));
    }
    if !(1..=MAX_DIMENSION.unsigned_abs()).contains(&(*hidden_size as u64)) || *vocab_size == 0 {
        return Err(contradiction(format!(
            "hidden_size {hidden_size} and vocab_size {vocab_size} can't be"
        )));
    }
    if shapes.is_empty() || shapes.len() > MAX_SHAPES {
        return Err(ErrorKind::Shape(format!("{} of them", shapes.len())).into());
    }
    shapes.iter().map(shape).try_for_each(check_tokens)
}

/// The directory of a manifest.
struct Directory {
    /// As the user names it.
    named: PathBuf,
    canonical: PathBuf,
    manifest: PathBuf,
}

impl Directory {
    fn of(manifest: &Path) -> Result<Self, Error> {
        let named = match manifest.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let canonical = named.canonicalize();
        Ok(Self {
            named: named.to_owned(),
            canonical: canonical.map_err(|e| Error::from(ErrorKind::Io(e)).at(manifest))?,
            manifest: manifest.to_owned(),
        })
    }

    /// The path of a file that the manifest names. Links are not followed in it: weights lie beside
    /// the link, not beside its target.
    fn find(&self, file: &str) -> Result<PathBuf, Error> {
        match resolve_in(&self.canonical, file) {
            Ok(_) => Ok(self.named.join(file)),
            Err(refusal) => {
                let why = format!("file {:?}: {}", shorten(file), refusal.why);
                Err(contradiction(why).at(&self.manifest))
            }
        }
    }
}

/// Compares what the graph takes and gives with its shape.
fn check_graph(model: &OnnxModel, file: &ShapeFile, hidden_size: usize) -> Result<(), Error> {
    let ShapeFile {
        batch, sequence, ..
    } = *file;
    let inputs: Vec<&ValueInfoProto> = model.inputs().collect();
    let has = |values: &[&ValueInfoProto], name: &str, dims: &[usize]| {
        let expected = Stated {
            elem_type: Some(DataType::Float),
            dims: Some(dims.iter().map(|&dim| Some(dim as i64)).collect()),
        };
        let found = values.iter().find(|value| value.name() == name);
        found.is_some_and(|value| Stated::of(value) == expected)
    };
    let outputs: Vec<&ValueInfoProto> = model.outputs().iter().collect();
    let sound = inputs.len() == 2
        && has(&inputs, INPUTS_EMBEDS, &[batch, sequence, hidden_size])
        && has(&inputs, LAST_TOKEN, &[batch, 1, sequence])
        && has(&outputs, LAST_HIDDEN_STATE, &[batch, hidden_size]);
    match sound {
        true => Ok(()),
        false => Err(Error::graph(format!(
            "its inputs and outputs are not those of {} with hidden_size {hidden_size}",
            shape(file)
        ))),
    }
}

fn contradiction(why: String) -> Error {
    ErrorKind::Manifest(why).into()
}

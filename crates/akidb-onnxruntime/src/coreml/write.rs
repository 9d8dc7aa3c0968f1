//! Writes a decoder's files for CoreML.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use prost::Message;

use super::manifest::{EmbedTokens, MANIFEST, Manifest, ShapeFile};
use super::precision::Precision;
use super::read::{VERSION, read_manifest};
use super::shape::{StaticShape, checked_shapes};
use super::{spell, weights};
use akidb_onnx::{Error, ErrorKind};
use akidb_transformer::{NotADecoder, Transformer};

/// All graphs and their weights lie in one of these directories beside the manifest, in that which
/// the manifest before doesn't name.
const DIRECTORIES: [&str; 2] = ["coreml", "coreml.2"];
const WEIGHTS: &str = "weights.onnx_data";
const EMBED_TOKENS: &str = "embed_tokens.safetensors";

/// What to write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Of the weights.
    pub precision: Precision,
    /// One graph each.
    pub shapes: Vec<StaticShape>,
    /// Name of the file that the decoder is from, for the manifest.
    pub source: String,
}

/// Writes one graph a shape, the weights that they share, the embedding table and the manifest
/// into the directory `dir`, which must exist. The manifest comes last: until then, what was written
/// before is there as it was.
///
/// # Errors
/// When the model is no causal decoder, a shape can't be (no text, more tokens than the model or
/// 4 096, an axis longer than CoreML takes, a shape twice), a weight is too large for the precision,
/// or a file can't be written.
pub fn write(decoder: &Transformer, options: &WriteOptions, dir: &Path) -> Result<Manifest, Error> {
    let config = decoder.decoder_config();
    let (blocks, norm) = decoder.decoder_blocks().map_err(not_spelled)?;
    let shapes = checked_shapes(&config, &options.shapes)?;
    let directory = free(dir);
    let graphs = dir.join(directory);
    clear(&graphs);
    fs::create_dir_all(&graphs).map_err(|e| failed(&graphs, e))?;
    let stored = create(&graphs.join(WEIGHTS), |file| {
        weights::write_linear(&blocks, options.precision, WEIGHTS, file)
    })?;
    let table = EmbedTokens {
        file: format!("{directory}/{EMBED_TOKENS}"),
        tensor: "embed_tokens.weight".to_owned(),
    };
    create(&graphs.join(EMBED_TOKENS), |file| {
        let embed_tokens = &decoder.embeddings.words;
        weights::write_embed_tokens(embed_tokens, options.precision, &table.tensor, file)
    })?;
    let mut files = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let name = format!("model_{shape}.onnx");
        let model = spell::spell(&config, (&blocks, norm), &stored, shape)?;
        create(&graphs.join(&name), |file| {
            file.write_all(&model.encode_to_vec())
                .map_err(|e| ErrorKind::Write(e).into())
        })?;
        files.push(ShapeFile {
            file: format!("{directory}/{name}"),
            batch: shape.batch,
            sequence: shape.sequence,
        });
    }
    let manifest = Manifest {
        version: VERSION,
        source: options.source.clone(),
        precision: options.precision,
        hidden_size: config.hidden_size,
        vocab_size: config.vocab_size,
        embed_tokens: table,
        weights: format!("{directory}/{WEIGHTS}"),
        shapes: files,
    };
    let path = dir.join(MANIFEST);
    let new = dir.join(format!(".{MANIFEST}.new"));
    create(&new, |file| {
        serde_json::to_writer_pretty(file, &manifest).map_err(|e| ErrorKind::Write(e.into()).into())
    })?;
    fs::rename(&new, &path).map_err(|e| failed(&path, e))?;
    let others = DIRECTORIES.iter().filter(|other| **other != directory);
    others.for_each(|other| clear(&dir.join(other)));
    Ok(manifest)
}

/// The directory that the manifest in `dir` names no file of.
fn free(dir: &Path) -> &'static str {
    let manifest = read_manifest(&dir.join(MANIFEST)).ok();
    let used = |directory: &str| {
        let weights = manifest.as_ref().map(|manifest| &manifest.weights);
        weights.is_some_and(|file| Path::new(file).starts_with(directory))
    };
    let [first, second] = DIRECTORIES;
    if used(first) { second } else { first }
}

/// Deletes what [`write`](write()) has written into a directory, as far as that can be.
fn clear(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let shape = name.strip_prefix("model_");
        let shape = shape.and_then(|name| name.strip_suffix(".onnx"));
        let graph = shape.is_some_and(|shape| shape.parse::<StaticShape>().is_ok());
        if graph || [WEIGHTS, EMBED_TOKENS].contains(&&*name) {
            // What can't be deleted takes room and is named by nothing.
            let _ = fs::remove_file(entry.path());
        }
    }
    // Fails where something else is in it.
    let _ = fs::remove_dir(directory);
}

fn not_spelled(why: NotADecoder) -> Error {
    ErrorKind::UnsupportedModel(format!("can't be written for CoreML: {why}")).into()
}

/// Creates a file, fills it, and brings it to the disk. A new file is written, so that a program that has the
/// old one mapped keeps it.
fn create<T>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, Error>,
) -> Result<T, Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(path, e)),
        _ => {}
    }
    let file = File::create_new(path).map_err(|e| failed(path, e))?;
    let mut file = BufWriter::new(file);
    let result = fill(&mut file).map_err(|e| match e.kind() {
        ErrorKind::Write(_) => e.at(path),
        _ => e,
    })?;
    // A rename could otherwise outlive a power cut that the bytes don't.
    let synced = file.flush().and_then(|()| file.get_ref().sync_all());
    synced.map_err(|e| failed(path, e))?;
    Ok(result)
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::from(ErrorKind::Write(error)).at(path)
}

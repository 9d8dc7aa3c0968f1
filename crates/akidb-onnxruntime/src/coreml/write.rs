//! Writes a decoder's files for CoreML.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use prost::Message;

use super::manifest::{EmbedTokens, MANIFEST, Manifest, ShapeFile};
use super::operators::MAX_DIMENSION;
use super::read::{VERSION, read_manifest};
use super::{spell, weights};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::{Error, ErrorKind};
use akidb_transformer::{DecoderConfig, NotADecoder, Transformer};

/// Longest text of a static shape, in tokens: the causal mask grows with its square.
const MAX_SEQUENCE: usize = 4096;
/// Most shapes at once.
pub(super) const MAX_SHAPES: usize = 64;

/// Most tokens that one graph takes at once: their vectors are its input.
const MAX_TOKENS: usize = 1 << 16;

/// All graphs and their weights lie in one of these directories beside the manifest, in that which
/// the manifest before doesn't name.
const DIRECTORIES: [&str; 2] = ["coreml", "coreml.2"];
const WEIGHTS: &str = "weights.onnx_data";
const EMBED_TOKENS: &str = "embed_tokens.safetensors";

/// Precision of the weights and of the products with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// IEEE half.
    F16,
    /// IEEE single.
    F32,
}

/// Number and longest length of the texts that one graph takes at once, as in `8x128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticShape {
    /// Number of texts.
    pub batch: usize,
    /// Longest text in tokens.
    pub sequence: usize,
}

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

/// Whether [`write`](write()) can make graphs of these shapes, known without writing anything.
///
/// # Errors
/// When a shape can't be, as with [`write`](write()).
pub fn check_shapes(config: &DecoderConfig, shapes: &[StaticShape]) -> Result<(), Error> {
    checked_shapes(config, shapes).map(drop)
}

/// The shapes from the fewest tokens on.
fn checked_shapes(
    config: &DecoderConfig,
    shapes: &[StaticShape],
) -> Result<Vec<StaticShape>, Error> {
    let refused = |why: String| Err(ErrorKind::Shape(why).into());
    if shapes.is_empty() || shapes.len() > MAX_SHAPES {
        return refused(format!("{} shapes, not 1 to {MAX_SHAPES}", shapes.len()));
    }
    let group = config.num_attention_heads / config.num_key_value_heads.max(1);
    let longest = MAX_SEQUENCE.min(config.max_position_embeddings);
    for &shape in shapes {
        let StaticShape { batch, sequence } = shape;
        check_tokens(shape)?;
        if sequence > longest {
            return refused(format!("{shape}: a text has at most {longest} tokens"));
        }
        let axes = [
            ("batch", Some(batch)),
            ("query rows", group.checked_mul(sequence)),
            ("hidden_size", Some(config.hidden_size)),
            ("intermediate_size", Some(config.intermediate_size)),
            (
                "query width",
                config.num_attention_heads.checked_mul(config.head_dim),
            ),
        ];
        for (what, len) in axes {
            if len.is_none_or(|len| len as u64 > MAX_DIMENSION.unsigned_abs()) {
                return refused(format!(
                    "{shape}: {what} is longer than CoreML's {MAX_DIMENSION}"
                ));
            }
        }
    }
    let mut sorted = shapes.to_vec();
    sorted.sort_by_key(|s| (s.tokens(), s.sequence));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return refused(format!("{} is there twice", pair[0]));
    }
    Ok(sorted)
}

/// Refuses a shape without a token or with too many.
pub(super) fn check_tokens(shape: StaticShape) -> Result<(), Error> {
    let StaticShape { batch, sequence } = shape;
    let refused = |why: String| Err(ErrorKind::Shape(format!("{shape}: {why}")).into());
    if batch == 0 || sequence == 0 {
        return refused("neither number can be 0".to_owned());
    }
    match batch.checked_mul(sequence) {
        Some(tokens) if tokens <= MAX_TOKENS => Ok(()),
        _ => refused(format!("more than {MAX_TOKENS} tokens")),
    }
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

impl Precision {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    pub(super) fn onnx(self) -> DataType {
        match self {
            Self::F16 => DataType::Float16,
            Self::F32 => DataType::Float,
        }
    }

    pub(super) fn safetensors(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        })
    }
}

impl StaticShape {
    /// Number of tokens, padding included.
    pub fn tokens(self) -> usize {
        self.batch.saturating_mul(self.sequence)
    }
}

impl fmt::Display for StaticShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.batch, self.sequence)
    }
}

impl FromStr for StaticShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let numbers = text
            .split_once('x')
            .and_then(|(batch, sequence)| Some((number(batch)?, number(sequence)?)));
        match numbers {
            Some((batch, sequence)) => Ok(Self { batch, sequence }),
            None => Err("a shape is texts x tokens, such as 8x128".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DecoderConfig {
        DecoderConfig {
            hidden_size: 1024,
            num_hidden_layers: 28,
            num_attention_heads: 16,
            num_key_value_heads: 8,
            head_dim: 128,
            intermediate_size: 3072,
            vocab_size: 151_669,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            max_position_embeddings: 32_768,
        }
    }

    fn shapes(texts: &[&str]) -> Vec<StaticShape> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn shapes_are_sorted_by_their_tokens() {
        let sorted = checked_shapes(&config(), &shapes(&["8x128", "1x512", "1x32"])).unwrap();
        let sorted: Vec<String> = sorted.iter().map(StaticShape::to_string).collect();
        assert_eq!(sorted, ["1x32", "1x512", "8x128"]);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (text, why) in [
            ("0x32", "can be 0"),
            ("1x0", "can be 0"),
            ("1x4097", "at most 4096"),
            ("20000x1", "batch is longer"),
            ("64x2048", "more than 65536 tokens"),
        ] {
            let error = checked_shapes(&config(), &shapes(&[text])).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        let error = checked_shapes(&config(), &shapes(&["1x2", "1x2"])).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(checked_shapes(&config(), &[]).is_err());
        let wide = DecoderConfig {
            intermediate_size: 20_000,
            ..config()
        };
        let error = checked_shapes(&wide, &shapes(&["1x2"])).unwrap_err();
        assert!(error.to_string().contains("intermediate_size"), "{error}");
    }

    #[test]
    fn a_shape_is_two_numbers() {
        for text in [
            "",
            "8",
            "8x",
            "x8",
            "8x-1",
            "8x1x1",
            "99999999999999999999x1",
        ] {
            assert!(text.parse::<StaticShape>().is_err(), "{text}");
        }
    }
}

//! Any JSON as what a pack says of its weights, with hashes that agree: load and run the model.
#![no_main]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use akidb_backend::{Backend, TokenBatch};
use akidb_native::{Engine, EngineOptions, PackedCache, SourceFile};
use akidb_onnx::model::OnnxModel;
use akidb_transformer::{DecoderConfig, Transformer, recognise};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;
use twox_hash::XxHash3_128;

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/akidb-testing/fixtures"
);
const MODELS: [&str; 3] = ["model_int8.onnx", "model_q4.onnx", "model_bnb4.onnx"];

/// Magic, length of the header, hash of the header.
const PREFIX: usize = 8 + 8 + 16;

/// Where weights start.
const ALIGNMENT: usize = 4096;

/// A model with its pack.
struct Packed {
    _directory: TempDir,
    decoder: Transformer,
    cache: PackedCache,
    pack: PathBuf,
    identity: Value,
    weights: Vec<u8>,
}

static PACKED: LazyLock<Vec<Packed>> = LazyLock::new(|| MODELS.into_iter().map(packed).collect());

fn packed(name: &str) -> Packed {
    let model = Path::new(FIXTURES).join("tiny-quantized");
    let config = DecoderConfig::open(&model.join("config.json")).unwrap();
    let file = model.join("onnx").join(name);
    let decoder = recognise(&OnnxModel::open(&file).unwrap(), Some(&config)).unwrap();
    let directory = TempDir::new().unwrap();
    let source = SourceFile::new(&file).unwrap();
    let cache = PackedCache::new(directory.path().to_owned(), vec![source]).min_bytes(0);
    engine(&decoder, &cache);
    assert!(engine(&decoder, &cache).is_from_cache());
    let pack = fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = fs::read(&pack).unwrap();
    let len = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[PREFIX..PREFIX + len]).unwrap();
    Packed {
        _directory: directory,
        decoder,
        cache,
        identity: header["identity"].clone(),
        weights: bytes[(PREFIX + len).next_multiple_of(ALIGNMENT)..].to_vec(),
        pack,
    }
}

fn engine(decoder: &Transformer, cache: &PackedCache) -> Engine {
    let options = EngineOptions {
        threads: Some(NonZeroUsize::MIN),
        packed_cache: Some(cache.clone()),
        ..EngineOptions::default()
    };
    Engine::new(decoder, options).unwrap()
}

/// The entries of a header, with the hashes of the parts that they name.
fn entries(weights: &Value, data: &[u8]) -> Option<String> {
    let mut entries = Vec::new();
    for weight in weights.as_array()? {
        let mut parts = Vec::new();
        for part in weight.get("parts")?.as_array()? {
            let number = |name: &str| usize::try_from(part.get(name)?.as_u64()?).ok();
            let (offset, len) = (number("offset")?, number("len")?);
            let bytes = data.get(offset..).and_then(|rest| rest.get(..len));
            let hash = XxHash3_128::oneshot(bytes.unwrap_or_default());
            parts.push(format!(
                "{{\"offset\":{offset},\"len\":{len},\"xxh3\":{hash}}}"
            ));
        }
        let (kind, parts) = (weight.get("kind")?, parts.join(","));
        entries.push(format!("{{\"kind\":{kind},\"parts\":[{parts}]}}"));
    }
    Some(entries.join(","))
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, json)) = data.split_first() else {
        return;
    };
    let packed = &PACKED[usize::from(which) % MODELS.len()];
    let Ok(weights) = serde_json::from_slice(json) else {
        return;
    };
    let Some(entries) = entries(&weights, &packed.weights) else {
        return;
    };
    let header = format!(
        "{{\"identity\":{},\"weights\":[{entries}]}}",
        packed.identity
    );
    let mut file = b"AKIDBPK1".to_vec();
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(XxHash3_128::oneshot(header.as_bytes()).to_le_bytes());
    file.extend(header.as_bytes());
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file.extend(&packed.weights);
    fs::write(&packed.pack, &file).unwrap();
    let engine = engine(&packed.decoder, &packed.cache);
    let batch: TokenBatch = [&[1_u32, 2, 299][..]].into_iter().collect();
    let mut row = vec![0.0; engine.info().hidden_size];
    let _ = engine.forward(&batch, &mut row);
});

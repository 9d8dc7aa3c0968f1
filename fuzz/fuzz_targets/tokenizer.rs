//! The parts of a tokenizer.json around its model, as JSON, and behind a zero byte a text: what loads has,
//! slice by slice, the tokens that the tokenizers crate finds in the whole text.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokenizers::Tokenizer;

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/akidb-testing/fixtures/tiny"
);
const FILES: [&str; 3] = ["config.json", "tokenizer_config.json", "onnx/model.onnx"];
const PARTS: [&str; 4] = ["added_tokens", "decoder", "normalizer", "pre_tokenizer"];

/// Some slices, and less than a word may have that can't be cut.
const TEXT_BYTES: usize = 48 << 10;

static MODEL: LazyLock<(TempDir, Map<String, Value>)> = LazyLock::new(|| {
    // The tokenizer library's own panics are caught by the crate; any other ends the run.
    std::panic::set_hook(Box::new(|info| {
        if !info
            .location()
            .is_some_and(|l| l.file().contains("/tokenizers-"))
        {
            eprintln!("{info}");
            std::process::abort();
        }
    }));
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("onnx")).unwrap();
    for file in FILES {
        if let Ok(bytes) = fs::read(Path::new(FIXTURE).join(file)) {
            fs::write(dir.path().join(file), bytes).unwrap();
        }
    }
    let json = fs::read(Path::new(FIXTURE).join("tokenizer.json")).unwrap();
    (dir, serde_json::from_slice(&json).unwrap())
});

fuzz_target!(|data: &[u8]| {
    let Some(zero) = data.iter().position(|&byte| byte == 0) else {
        return;
    };
    let (parts, text) = (&data[..zero], String::from_utf8_lossy(&data[zero + 1..]));
    let Ok(parts) = serde_json::from_slice::<Map<String, Value>>(parts) else {
        return;
    };
    let (dir, json) = &*MODEL;
    let mut json = json.clone();
    json.extend(
        parts
            .into_iter()
            .filter(|(name, _)| PARTS.contains(&name.as_str())),
    );
    let json = serde_json::to_vec(&json).unwrap();
    fs::write(dir.path().join("tokenizer.json"), &json).unwrap();
    let embedder = Embedder::builder()
        .model(dir.path().to_str().unwrap())
        .backend(BackendChoice::Native)
        .threads(1)
        .build();
    let Ok(embedder) = embedder else {
        return;
    };
    let text = text.repeat(TEXT_BYTES / text.len().max(1));
    let tokens = embedder
        .tokenize(&[&text], &EmbedOptions::default())
        .unwrap()
        .remove(0);
    let Ok(tokens) = tokens else {
        return;
    };
    let library = Tokenizer::from_bytes(&json).unwrap();
    let whole = library.encode_fast(text, false).unwrap();
    // The model's own end follows.
    let (_, content) = tokens.ids.split_last().unwrap();
    assert!(whole.get_ids().starts_with(content));
    let _ = embedder.decode(&tokens.ids, false);
});

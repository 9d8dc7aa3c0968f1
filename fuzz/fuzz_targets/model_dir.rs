//! Any bytes as one of the JSON files of a model directory: load the model, embed with it.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder, OnLong, Prompt};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/akidb-testing/fixtures/tiny");
const WEIGHTS: &str = "onnx/model.onnx";
const FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
];

static MODEL: LazyLock<TempDir> = LazyLock::new(|| {
    // The tokenizer library's own panics are caught by the crate; any other ends the run.
    std::panic::set_hook(Box::new(|info| {
        if !info.location().is_some_and(|l| l.file().contains("/tokenizers-")) {
            eprintln!("{info}");
            std::process::abort();
        }
    }));
    let dir = TempDir::new().unwrap();
    for sub in ["onnx", "1_Pooling"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    fs::copy(Path::new(FIXTURE).join(WEIGHTS), dir.path().join(WEIGHTS)).unwrap();
    for file in FILES {
        restore(dir.path(), file);
    }
    dir
});

fn restore(dir: &Path, file: &str) {
    match fs::read(Path::new(FIXTURE).join(file)) {
        Ok(bytes) => fs::write(dir.join(file), bytes).unwrap(),
        Err(_) => drop(fs::remove_file(dir.join(file))),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, bytes)) = data.split_first() else {
        return;
    };
    let file = FILES[usize::from(which) % FILES.len()];
    let dir = MODEL.path();
    fs::write(dir.join(file), bytes).unwrap();
    let embedder = Embedder::builder()
        .model(dir.to_str().unwrap())
        .backend(BackendChoice::Native)
        .threads(1)
        .build();
    if let Ok(embedder) = embedder {
        let options = EmbedOptions {
            on_long: OnLong::Truncate,
            ..EmbedOptions::query()
        };
        let texts = ["", "Hello, world!", "<|endoftext|> \u{301}e\u{0}"];
        if let Ok(vectors) = embedder.vectors(&texts, &options) {
            assert_eq!(vectors.len(), texts.len());
            assert!(vectors.iter().flatten().all(|x| x.is_finite()));
        }
        let _ = embedder.vectors(&[&[0u32, 299, 300, u32::MAX][..]], &options);
        let task = EmbedOptions {
            prompt: Prompt::Instruction("x".to_owned()),
            ..options
        };
        let _ = embedder.vectors(&texts, &task);
    }
    restore(dir, file);
});

//! Which engine runs encoders where none is named.

use std::path::Path;

use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder};
use akidb_testing::fixture;

/// `tiny-bert` with one of its graphs, or with its tensors, and a tokenizer and a configuration.
fn model(dir: &Path, weights: &str, config: &[u8]) {
    let (from, words) = (fixture("tiny-bert"), fixture("forms/no-pooling"));
    std::fs::create_dir_all(dir.join("1_Pooling")).unwrap();
    std::fs::copy(words.join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
    let name = Path::new(weights).file_name().unwrap();
    std::fs::copy(from.join(weights), dir.join(name)).unwrap();
    std::fs::write(dir.join("config.json"), config).unwrap();
    let pooling = "{\"pooling_mode_cls_token\": true}";
    std::fs::write(dir.join("1_Pooling/config.json"), pooling).unwrap();
}

fn config() -> Vec<u8> {
    std::fs::read(fixture("tiny-bert/config.json")).unwrap()
}

/// What ran, and why not the preferred one.
fn ran(dir: &Path, backend: BackendChoice) -> Result<(String, Option<String>), EmbedError> {
    let model = dir.to_str().unwrap();
    let embedder = Embedder::builder().model(model).backend(backend).build()?;
    let answer = embedder.embed(&["a", "b a"], &EmbedOptions::default())?;
    assert_eq!(answer.embeddings.len(), 2);
    Ok((answer.provenance.backend, answer.provenance.fallback))
}

#[test]
fn floats_run_on_the_native_engine() {
    for weights in ["onnx/model.onnx", "onnx/model_o2.onnx", "model.safetensors"] {
        let dir = tempfile::tempdir().unwrap();
        model(dir.path(), weights, &config());
        let what = ran(dir.path(), BackendChoice::Auto).unwrap();
        assert_eq!(what, ("native".to_owned(), None), "{weights}");
    }
}

#[test]
fn quantized_weights() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "onnx/model_int8.onnx", &config());
    let what = ran(dir.path(), BackendChoice::Auto).unwrap();
    assert_eq!(what, ("native".to_owned(), None));
}

/// The graph says all that is needed.
#[test]
fn a_config_that_says_too_little_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let config = br#"{"model_type": "bert", "hidden_size": 36, "vocab_size": 137}"#;
    model(dir.path(), "onnx/model.onnx", config);
    let what = ran(dir.path(), BackendChoice::Auto).unwrap();
    assert_eq!(what, ("native".to_owned(), None));
}

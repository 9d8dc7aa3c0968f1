//! `validate` as a user meets it.

use crate::common::{akidb, builtin, json};

/// A copy of the built-in model.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "onnx/model_fp16.onnx",
    ] {
        let to = dir.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(builtin(name), to).unwrap();
    }
    dir
}

fn edit(dir: &tempfile::TempDir, name: &str, key: &str, value: serde_json::Value) {
    let path = dir.path().join(name);
    let mut file = json(&std::fs::read_to_string(&path).unwrap());
    file[key] = value;
    std::fs::write(path, file.to_string()).unwrap();
}

fn validated(dir: &tempfile::TempDir) -> crate::common::Outcome {
    akidb(&["validate", &dir.path().display().to_string()])
}

#[test]
fn the_built_in_model_is_whole() {
    let out = akidb(&["validate", &builtin("")]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{}", out.stdout);
    assert!(
        out.stdout
            .contains("note: contrib operators: SimplifiedLayerNormalization 13")
    );
    assert!(out.stdout.contains("tokenizer.json: ok"), "{}", out.stdout);
    // The same by its name.
    let out = akidb(&["validate", "akidb-mini"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{}", out.stdout);
    assert!(
        out.stdout.contains("akidb-mini/tokenizer.json: ok"),
        "{}",
        out.stdout
    );
    let out = akidb(&["validate", "no-such-model"]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("there is no model"), "{}", out.stderr);
}

#[test]
fn contradictions_between_files_are_errors() {
    for (name, key, value, why) in [
        (
            "config.json",
            "hidden_size",
            128,
            "config.json says hidden_size 128",
        ),
        (
            "config.json",
            "eos_token_id",
            99_999,
            "it has no token 99999",
        ),
        (
            "config.json",
            "vocab_size",
            300,
            "config.json says vocab_size 300",
        ),
        (
            "1_Pooling/config.json",
            "word_embedding_dimension",
            12,
            "word_embedding_dimension is 12",
        ),
    ] {
        let dir = copy();
        edit(&dir, name, key, value.into());
        let out = validated(&dir);
        assert_eq!(out.code, 1, "{why}");
        assert!(out.stdout.contains(why), "{why}: {}", out.stdout);
        assert!(
            out.stderr.contains("found\nhint: each line"),
            "{}",
            out.stderr
        );
    }
}

#[test]
fn missing_and_broken_files_are_named() {
    let dir = copy();
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    std::fs::write(dir.path().join("1_Pooling/config.json"), "[").unwrap();
    std::fs::write(dir.path().join("onnx/model.onnx"), "no").unwrap();
    let out = validated(&dir);
    assert_eq!(out.code, 1);
    assert!(
        out.stdout.contains("tokenizer.json: error: is missing"),
        "{}",
        out.stdout
    );
    assert!(
        out.stdout.contains("config.json: error: is cut off"),
        "{}",
        out.stdout
    );
    assert!(out.stdout.contains("model.onnx: error:"), "{}", out.stdout);
    assert!(
        out.stderr.starts_with("error: 3 errors were found\n"),
        "{}",
        out.stderr
    );
}

#[test]
fn a_model_that_nothing_runs_is_an_error_that_says_what_would_help() {
    // Weights whose names no family has, and no graph that another backend could run.
    let dir = tempfile::tempdir().unwrap();
    let tiny = akidb_testing::fixture("tiny");
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        let to = dir.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(tiny.join(file), to).unwrap();
    }
    edit(&dir, "config.json", "model_type", "unheard-of".into());
    let weights = std::fs::read(tiny.join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    let out = validated(&dir);
    assert_eq!(out.code, 1, "{}", out.stdout);
    let words = "model.safetensors: error: no backend can run this model";
    assert!(out.stdout.contains(words), "{}", out.stdout);
    assert!(
        out.stdout.contains("native engine can't either"),
        "{}",
        out.stdout
    );

    // One that another backend runs is fine.
    let dir = copy();
    let pooling = "{\"pooling_mode_mean_tokens\": true}";
    std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
    let out = validated(&dir);
    assert_eq!(out.code, 0, "{}{}", out.stdout, out.stderr);
}

#[test]
fn what_several_files_have_is_told_once() {
    let dir = copy();
    let from = dir.path().join("onnx/model_fp16.onnx");
    for name in ["model.onnx", "model_int8.onnx", "model_q4.onnx"] {
        std::fs::copy(&from, dir.path().join("onnx").join(name)).unwrap();
    }
    let out = validated(&dir);
    let notes = out.stdout.matches("note: contrib operators").count();
    assert_eq!(notes, 1, "{}", out.stdout);
    assert!(
        out.stdout.contains("and 2 more files: note:"),
        "{}",
        out.stdout
    );
}

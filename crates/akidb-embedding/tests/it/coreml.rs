//! Graphs of fixed shapes, as `akidb-embed optimize --target coreml` writes them, on ONNX Runtime's CPU
//! provider.

use std::error::Error;
use std::path::{Path, PathBuf};

use akidb_embedding::{
    BackendChoice, EmbedError, EmbedOptions, Embedder, EmbedderBuilder, OnLong, Precision,
};
use akidb_onnx::model::OnnxModel;
use akidb_onnxruntime::coreml::{self, WriteOptions};
use akidb_testing::{builtin_model_dir, cosine};
use akidb_transformer::{DecoderConfig, recognise};

fn library() -> Option<PathBuf> {
    let library = akidb_testing::onnxruntime_library();
    if library.is_none() {
        akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
    }
    library
}

/// The built-in model's files for CoreML, and what goes with them.
fn written(precision: coreml::Precision, shapes: &[&str]) -> tempfile::TempDir {
    let model = builtin_model_dir();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        std::fs::copy(model.join(file), dir.path().join(file)).unwrap();
    }
    let config = DecoderConfig::open(&model.join("config.json")).unwrap();
    let graph = OnnxModel::open(&model.join("onnx/model_fp16.onnx")).unwrap();
    let decoder = recognise(&graph, Some(&config)).unwrap();
    let options = WriteOptions {
        precision,
        shapes: shapes.iter().map(|shape| shape.parse().unwrap()).collect(),
        source: "model_fp16.onnx".to_owned(),
    };
    coreml::write(&decoder, &options, dir.path()).unwrap();
    dir
}

#[test]
fn all_weights_count_into_the_memory_that_is_expected() {
    let dir = written(coreml::Precision::F16, &["1x8"]);
    let files = std::fs::read_dir(dir.path().join("coreml")).unwrap();
    let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
    let manifest = dir.path().join(coreml::MANIFEST).metadata().unwrap();
    let expected = sizes.sum::<u64>() + manifest.len();
    let description = builder(dir.path()).describe().unwrap();
    assert_eq!(description.variant, "coreml");
    assert_eq!(description.weights_bytes, expected);
}

fn builder(model: &Path) -> EmbedderBuilder {
    Embedder::builder().model(model.to_str().unwrap())
}

fn native() -> Embedder {
    let native = builder(&builtin_model_dir()).backend(BackendChoice::Native);
    native.precision(Precision::F32).build().unwrap()
}

/// Texts of 2 to about `longest` tokens.
fn texts(longest: usize) -> Vec<String> {
    let lengths = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];
    let words = ["one", "file", "of", "many", "is", "read", "again"];
    lengths
        .into_iter()
        .filter(|&length| length + 2 <= longest)
        .map(|length| {
            let words = words.iter().cycle().skip(length).take(length);
            words.copied().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// The least cosine of a text's vector to the native engine's in f32.
fn least_cosine(coreml: &Embedder, native: &Embedder, texts: &[String]) -> f64 {
    let options = EmbedOptions {
        max_tokens: Some(coreml.max_tokens()),
        ..EmbedOptions::default()
    };
    let vectors = coreml.vectors(texts, &options).unwrap();
    let expected = native.vectors(texts, &options).unwrap();
    let cosines = vectors.iter().zip(&expected).map(|(a, b)| cosine(a, b));
    cosines.fold(1.0, f64::min)
}

#[test]
fn every_shape_gives_the_native_engines_vectors() {
    let Some(library) = library() else { return };
    let native = native();
    for (precision, least) in [
        (coreml::Precision::F32, 0.99999),
        (coreml::Precision::F16, 0.999),
    ] {
        for (shapes, longest) in [
            (&["1x8"][..], 8),
            (&["3x16"], 16),
            (&["1x128"], 128),
            (&["1x8", "4x32", "1x256"], 256),
        ] {
            let dir = written(precision, shapes);
            let coreml = builder(dir.path()).onnxruntime_library(&library);
            let coreml = coreml.build().unwrap();
            assert_eq!(coreml.max_tokens(), longest);
            // All in one call, and the longest, which fills its row.
            let mut texts = texts(longest);
            texts.push("word ".repeat(longest));
            let cosine = least_cosine(&coreml, &native, &texts);
            assert!(cosine >= least, "{precision} {shapes:?}: {cosine}");

            let provenance = coreml.provenance(&EmbedOptions::default()).unwrap();
            assert_eq!(provenance.backend, "onnxruntime");
            assert_eq!(provenance.variant, "coreml");
            assert_eq!(provenance.precision, precision.to_string());
            let shapes = shapes.join(" ");
            assert_eq!(provenance.device, format!("cpu, shapes {shapes}"));
            assert_eq!(provenance.fallback, None);
        }
    }
}

#[test]
fn a_texts_vector_is_its_own() {
    let Some(library) = library() else { return };
    let dir = written(coreml::Precision::F32, &["1x16", "4x16"]);
    let coreml = builder(dir.path()).onnxruntime_library(library);
    let coreml = coreml.build().unwrap();
    let options = EmbedOptions::default();
    let alone = coreml.vectors(&["a text"], &options).unwrap();
    let beside = ["quite another", "a text", "and a third one", "fourth"];
    let beside = coreml.vectors(&beside, &options).unwrap();
    assert!(cosine(&alone[0], &beside[1]) > 0.999_999_9);
}

#[test]
fn a_text_longer_than_the_longest_shape_is_cut_or_refused() {
    let Some(library) = library() else { return };
    let dir = written(coreml::Precision::F32, &["1x8", "2x16"]);
    let coreml = builder(dir.path()).onnxruntime_library(library);
    let coreml = coreml.build().unwrap();
    let long = "word ".repeat(40);
    let answer = coreml.embed(&[&*long], &EmbedOptions::default()).unwrap();
    assert!(answer.embeddings[0].truncated);
    assert_eq!(answer.embeddings[0].tokens, 16);
    let refuse = EmbedOptions {
        on_long: OnLong::Error,
        ..EmbedOptions::default()
    };
    let error = coreml.embed(&[&*long], &refuse).unwrap_err();
    assert!(matches!(error, EmbedError::TooLong { limit: 16, .. }));
}

#[test]
fn other_backends_say_which_one_runs_it() {
    let dir = written(coreml::Precision::F32, &["1x8"]);
    for backend in [BackendChoice::Native, BackendChoice::Rten] {
        let error = builder(dir.path()).backend(backend).build().unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(
            cause.ends_with("written for CoreML: ONNX Runtime does"),
            "{cause}"
        );
    }
    // The weights beside it come first unless the variant is named.
    let beside = dir.path().join("onnx");
    std::fs::create_dir(&beside).unwrap();
    let graph = builtin_model_dir().join("onnx/model_fp16.onnx");
    std::fs::copy(graph, beside.join("model_fp16.onnx")).unwrap();
    let model = builder(dir.path()).build().unwrap();
    let provenance = model.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(
        (&*provenance.variant, &*provenance.backend),
        ("fp16", "native")
    );
    let Some(library) = library() else { return };
    let model = builder(dir.path()).variant("coreml");
    let model = model.onnxruntime_library(library).build().unwrap();
    let provenance = model.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(provenance.backend, "onnxruntime");
}

#[test]
fn files_that_contradict_the_manifest() {
    let Some(library) = library() else { return };
    let dir = written(coreml::Precision::F32, &["1x8", "2x16"]);
    let path = dir.path().join("coreml.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    for (from, to, word) in [
        ("model_1x8.onnx", "model_2x16.onnx", "not those of 1x8"),
        (
            "coreml/model_1x8",
            "../coreml/model_1x8",
            "inside the model's directory",
        ),
        (
            "\"hidden_size\": 256",
            "\"hidden_size\": 255",
            "hidden_size 255",
        ),
        (
            "\"hidden_size\": 256",
            "\"hidden_size\": 0",
            "hidden_size 0",
        ),
        (
            "\"batch\": 1",
            "\"batch\": 100000000000",
            "more than 65536 tokens",
        ),
        ("\"version\": 1", "\"version\": 2", "version 2"),
        ("\"version\": 1", "\"version\": -1", "not valid"),
        ("embed_tokens.weight", "other", "is missing"),
        (
            "embed_tokens.safetensors",
            "weights.onnx_data",
            "safetensors",
        ),
    ] {
        let changed = manifest.replacen(from, to, 1);
        assert_ne!(changed, manifest);
        std::fs::write(&path, changed).unwrap();
        let model = builder(dir.path()).onnxruntime_library(&library);
        let error = model.build().unwrap_err();
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            told = format!("{told}: {error}");
            cause = error.source();
        }
        assert!(told.contains(word), "{word:?} is missing in {told}");
    }
}

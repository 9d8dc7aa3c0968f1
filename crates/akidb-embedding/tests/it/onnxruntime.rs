//! ONNX Runtime behind the facade: what is chosen, what is said of it, and what can't be.

use std::error::Error;
use std::path::{Path, PathBuf};

use akidb_embedding::onnxruntime::{Provider, ProviderChoice};
use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder, EmbedderBuilder};
use akidb_onnx::proto::ModelProto;
use akidb_testing::{cosine, fixture};
use prost::Message;

use crate::unknown_form::in_an_unknown_form;

const TEXTS: [&str; 3] = ["a", "the quick brown fox", ""];

fn library() -> Option<PathBuf> {
    let library = akidb_testing::onnxruntime_library();
    if library.is_none() {
        akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
    }
    library
}

fn builder(model: &Path, backend: BackendChoice) -> EmbedderBuilder {
    let builder = Embedder::builder().model(model.to_str().unwrap());
    builder.backend(backend)
}

fn agrees_with_native(embedder: &Embedder) {
    let native = builder(&fixture("tiny"), BackendChoice::Native)
        .build()
        .unwrap();
    let options = EmbedOptions::default();
    let expected = native.vectors(&TEXTS, &options).unwrap();
    for (a, b) in embedder
        .vectors(&TEXTS, &options)
        .unwrap()
        .iter()
        .zip(&expected)
    {
        assert!(cosine(a, b) >= 0.999_999);
    }
}

#[test]
fn it_is_chosen_for_a_graph_that_the_native_engine_does_not_know() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    let auto = builder(dir.path(), BackendChoice::Auto).onnxruntime_library(library);
    let auto = auto.build().unwrap();
    let provenance = auto.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(provenance.backend, "onnxruntime");
    let reason = provenance.fallback.unwrap();
    assert!(
        reason.contains("Neg") && reason.ends_with("ONNX Runtime does"),
        "{reason}"
    );
    agrees_with_native(&auto);
}

#[test]
fn rten_follows_where_it_can_not() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    // ONNX Runtime wants all inputs, RTen those that are needed.
    let path = dir.path().join("model.onnx");
    let mut model = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
    let inputs = &mut model.graph.as_mut().unwrap().input;
    let mut pixels = inputs[0].clone();
    pixels.name = Some("pixel_values".to_owned());
    inputs.push(pixels);
    std::fs::write(&path, model.encode_to_vec()).unwrap();

    let auto = builder(dir.path(), BackendChoice::Auto).onnxruntime_library(library);
    let auto = auto.build().unwrap();
    let provenance = auto.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(provenance.backend, "rten");
    let reason = provenance.fallback.unwrap();
    for word in ["Neg", "nor can ONNX Runtime", "pixel_values", "RTen does"] {
        assert!(reason.contains(word), "{reason}");
    }
    agrees_with_native(&auto);
}

#[test]
fn a_provider_that_is_named_means_onnxruntime() {
    let cpu = ProviderChoice::Named(Provider::Cpu);
    for backend in [BackendChoice::Native, BackendChoice::Rten] {
        let builder = builder(&fixture("tiny"), backend).provider(cpu.clone());
        assert!(matches!(builder.build(), Err(EmbedError::Unsupported(_))));
    }
    let Some(library) = library() else { return };
    let auto = builder(&fixture("tiny"), BackendChoice::Auto).provider(cpu);
    let auto = auto.onnxruntime_library(library).build().unwrap();
    let provenance = auto.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(
        (&*provenance.backend, &*provenance.device),
        ("onnxruntime", "cpu")
    );
    assert_eq!(provenance.fallback, None);
    agrees_with_native(&auto);
}

#[test]
fn a_library_that_is_named_and_can_not_be_used_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    for backend in [BackendChoice::OnnxRuntime, BackendChoice::Auto] {
        let nowhere = dir.path().join("libnowhere.so");
        let error = builder(dir.path(), backend)
            .onnxruntime_library(nowhere)
            .build();
        let error = error.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("libnowhere.so"), "{cause}");
        assert!(error.hint().unwrap().to_string().contains("1.22"));
    }
}

#[test]
fn safetensors_are_not_for_it() {
    let Some(library) = library() else { return };
    let tiny = builder(&fixture("tiny"), BackendChoice::OnnxRuntime).variant("safetensors");
    let error = tiny.onnxruntime_library(library).build().unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("not safetensors"), "{cause}");
}

#[test]
fn a_graph_and_a_config_that_contradict_each_other() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    let path = dir.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let other = config.replace("\"hidden_size\": 28", "\"hidden_size\": 32");
    assert_ne!(config, other);
    std::fs::write(&path, other).unwrap();
    let model = builder(dir.path(), BackendChoice::OnnxRuntime).onnxruntime_library(library);
    let error = model.build().unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("32") && cause.contains("28"), "{cause}");
}

//! Two engines that share no code agree on the same files.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::path::Path;

use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder, Precision};
use akidb_onnx::proto::{ModelProto, NodeProto};
use akidb_testing::{akidb_mini_goldens, cosine, fixture};
use prost::Message;

fn load(model: &str, backend: BackendChoice) -> Result<Embedder, EmbedError> {
    let builder = Embedder::builder().model(model).backend(backend);
    builder.precision(Precision::F32).build()
}

fn agree(model: &str, least: f64) {
    let native = load(model, BackendChoice::Native).unwrap();
    let rten = load(model, BackendChoice::Rten).unwrap();
    let goldens = akidb_mini_goldens();
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    let options = EmbedOptions {
        max_tokens: Some(256),
        ..EmbedOptions::default()
    };
    let pairs = native
        .vectors(&texts, &options)
        .unwrap()
        .into_iter()
        .zip(rten.vectors(&texts, &options).unwrap());
    let mut worst = 1.0f64;
    for ((a, b), text) in pairs.zip(&texts) {
        let cosine = cosine(&a, &b);
        assert!(cosine >= least, "{model}: {cosine} for {text:?}");
        worst = worst.min(cosine);
    }
    println!("{model}: worst cosine {worst:.9}");
}

#[test]
fn on_the_built_in_model() {
    agree("akidb-mini", 0.999_999);
}

#[test]
fn on_other_head_counts_with_inline_and_external_weights() {
    for name in ["tiny", "tiny-external", "tiny-gqa"] {
        agree(fixture(name).to_str().unwrap(), 0.999_999);
    }
}

/// A copy of `tiny` whose embeddings are negated twice on their way: the same model, in a form
/// that no exporter writes.
fn in_an_unknown_form(dir: &Path) {
    let from = fixture("tiny");
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        std::fs::create_dir_all(dir.join("1_Pooling")).unwrap();
        std::fs::copy(from.join(file), dir.join(file)).unwrap();
    }
    let bytes = std::fs::read(from.join("onnx/model.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let lookup = nodes
        .iter()
        .position(|n| n.op_type() == "Gather" && n.input[0].contains("embed_tokens"))
        .unwrap();
    let embeddings = std::mem::replace(&mut nodes[lookup].output[0], "looked_up".to_owned());
    for (i, (input, output)) in [("looked_up", "negated"), ("negated", &embeddings)]
        .into_iter()
        .enumerate()
    {
        let negate = NodeProto {
            op_type: Some("Neg".to_owned()),
            name: Some(format!("negate_{i}")),
            input: vec![input.to_owned()],
            output: vec![output.to_owned()],
            ..NodeProto::default()
        };
        nodes.insert(lookup + 1 + i, negate);
    }
    std::fs::write(dir.join("model.onnx"), model.encode_to_vec()).unwrap();
}

#[test]
fn a_graph_that_the_native_engine_does_not_know_runs_on_rten_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    let model = dir.path().to_str().unwrap();
    let auto = load(model, BackendChoice::Auto).unwrap();
    let provenance = auto.provenance(&EmbedOptions::default()).unwrap();
    assert_eq!(provenance.backend, "rten");
    let reason = provenance.fallback.unwrap();
    assert!(reason.contains("Neg"), "{reason}");

    let error = load(model, BackendChoice::Native).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("Neg"), "{cause}");

    let native = load(fixture("tiny").to_str().unwrap(), BackendChoice::Native).unwrap();
    let texts = ["a", "the quick brown fox", ""];
    let options = EmbedOptions::default();
    let (a, b) = (
        auto.vectors(&texts, &options).unwrap(),
        native.vectors(&texts, &options).unwrap(),
    );
    for (a, b) in a.iter().zip(&b) {
        assert!(cosine(a, b) >= 0.999_999);
    }
}

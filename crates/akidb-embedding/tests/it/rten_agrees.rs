//! Two engines that share no code agree on the same files.

use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder, Precision};
use akidb_testing::{akidb_mini_goldens, cosine, fixture};

use crate::unknown_form::in_an_unknown_form;

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

#[test]
fn a_graph_that_the_native_engine_does_not_know_runs_elsewhere_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    in_an_unknown_form(dir.path());
    let model = dir.path().to_str().unwrap();
    let auto = load(model, BackendChoice::Auto).unwrap();
    let provenance = auto.provenance(&EmbedOptions::default()).unwrap();
    // The other where this machine has a library of it.
    assert!(["rten", "onnxruntime"].contains(&&*provenance.backend));
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

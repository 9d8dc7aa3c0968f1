//! A part that this program was built without is named.

use akidb_embedding::{BackendChoice, EmbedError, Embedder};

fn missing(model: &str, backend: BackendChoice) -> &'static str {
    let builder = Embedder::builder().model(model).backend(backend);
    match builder.build().unwrap_err() {
        EmbedError::FeatureMissing { feature, .. } => feature,
        error => panic!("{error}"),
    }
}

#[cfg(not(feature = "builtin"))]
#[test]
fn the_built_in_model() {
    assert_eq!(missing("akidb-mini", BackendChoice::Auto), "builtin");
}

#[cfg(not(feature = "onnxruntime"))]
#[test]
fn onnx_runtime() {
    let tiny = akidb_testing::fixture("tiny");
    let tiny = tiny.to_str().unwrap();
    assert_eq!(missing(tiny, BackendChoice::OnnxRuntime), "onnxruntime");
}

#[cfg(not(feature = "rten"))]
#[test]
fn rten() {
    let tiny = akidb_testing::fixture("tiny");
    assert_eq!(missing(tiny.to_str().unwrap(), BackendChoice::Rten), "rten");
}

#[cfg(not(any(feature = "onnxruntime", feature = "rten")))]
#[test]
fn what_runs_a_model_that_the_native_engine_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    crate::unknown_form::in_an_unknown_form(dir.path());
    let model = dir.path().to_str().unwrap();
    assert_eq!(missing(model, BackendChoice::Auto), "rten or onnxruntime");
}

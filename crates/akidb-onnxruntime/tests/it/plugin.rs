//! A provider in a library of its own, on a real model.

use std::path::{Path, PathBuf};

use akidb_backend::{Backend, Pooling};
use akidb_onnxruntime::{
    Library, OnnxRuntimeError, OnnxRuntimeModel, OnnxRuntimeOptions, Provider, ProviderChoice,
};
use akidb_testing::{cosine, minilm, minilm_goldens};

use crate::common::{library, options, rows};

/// The plugin that `scripts/fetch_onnxruntime.sh` puts beside the library.
fn plugin(library: &Library) -> Option<PathBuf> {
    let packages = library.path().ancestors().nth(3)?;
    let path = packages.join("onnxruntime_ggml/lib/libonnxruntime_ggml.so");
    path.is_file().then_some(path)
}

fn load(
    library: &'static Library,
    model: &Path,
    options_of_plugin: &[(&str, &str)],
) -> Result<OnnxRuntimeModel, OnnxRuntimeError> {
    let provider = Provider::new("plugin", options_of_plugin.iter().copied())?;
    let options = OnnxRuntimeOptions {
        provider: ProviderChoice::Named(provider),
        ..options(Pooling::Mean)
    };
    OnnxRuntimeModel::load(library, model, &options)
}

#[test]
fn it_runs_a_model_with_its_own_options() {
    let Some(library) = library() else { return };
    let (Some(plugin), Some(model)) = (plugin(library), minilm()) else {
        akidb_testing::skip("no onnxruntime-ggml or no all-MiniLM-L6-v2 (scripts/fetch_*.sh)");
        return;
    };
    let model = model.join("onnx/model.onnx");
    let path = ("library", plugin.to_str().unwrap());
    let with_options = load(
        library,
        &model,
        &[path, ("device", "cpu"), ("threads", "1")],
    )
    .unwrap();
    assert!(
        with_options
            .info()
            .device
            .starts_with("plugin onnxruntime_ggml"),
        "{}",
        with_options.info().device
    );
    let golden = &minilm_goldens()[2];
    let row = &rows(&with_options, &[&golden.ids]).unwrap()[0];
    let similarity = cosine(row, &golden.vector);
    assert!(similarity > 0.999, "{similarity}");

    // Opened once, used twice; and a device that this plugin doesn't offer.
    load(library, &model, &[path]).unwrap();
    let error = load(library, &model, &[path, ("device", "npu")]).unwrap_err();
    assert!(error.to_string().contains("no device"), "{error}");
}

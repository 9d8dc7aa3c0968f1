//! External data: any layout that ONNX allows, and no file outside the model's directory.

use std::fs;
use std::path::Path;

use akidb_backend::{Backend, BackendError, BackendErrorKind, Pooling, TokenBatch};
use akidb_onnx::proto::tensor_proto::DataLocation;
use akidb_onnx::proto::{StringStringEntryProto, TensorProto};
use akidb_rten::{RtenModel, RtenOptions};
use prost::Message;

use crate::builder::{chain, load_mean, model};
use crate::encoder::{WIDTH, graph};

/// [`graph`] with its word table in `location`.
fn external(location: &str, offset: Option<usize>) -> (Vec<u8>, Vec<u8>) {
    let mut graph = graph();
    let words: &mut TensorProto = &mut graph.initializer[0];
    let data = words.raw_data.take().unwrap().to_vec();
    words.data_location = Some(DataLocation::External as i32);
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value),
    };
    words.external_data = vec![entry("location", location.into())];
    words
        .external_data
        .extend(offset.map(|offset| entry("offset", offset.to_string())));
    let mut file = vec![0; offset.unwrap_or(0)];
    file.extend(data);
    (model(graph).encode_to_vec(), file)
}

fn load_external(
    dir: &Path,
    location: &str,
    offset: Option<usize>,
    file: &Path,
) -> Result<RtenModel, BackendError> {
    let (model, data) = external(location, offset);
    fs::write(dir.join("model.onnx"), model).unwrap();
    fs::write(file, data).unwrap();
    RtenModel::load(&dir.join("model.onnx"), RtenOptions::new(Pooling::Mean))
}

#[test]
fn external_data_may_have_any_name_and_any_alignment() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let inline = load_mean(graph()).unwrap();
    let batch: TokenBatch = [[3, 9, 1, 5]].into_iter().collect();
    let row = |model: &RtenModel| {
        let mut out = vec![0.0; WIDTH];
        model.forward(&batch, &mut out).unwrap();
        out
    };
    for (name, offset) in [
        ("model.onnx_data", None),
        ("weights.bin", Some(4)),
        ("odd", Some(1)),
    ] {
        let model = load_external(dir, name, offset, &dir.join(name)).unwrap();
        assert_eq!(row(&model), row(&inline), "{name}");
    }
}

#[test]
fn external_data_that_is_cut_under_the_engine_is_named_before_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let weights = dir.path().join("model.onnx_data");
    let model = load_external(dir.path(), "model.onnx_data", None, &weights).unwrap();
    let batch: TokenBatch = [[3, 9, 1, 5]].into_iter().collect();
    let mut out = vec![0.0; WIDTH];
    model.forward(&batch, &mut out).unwrap();
    let file = fs::File::options().write(true).open(&weights).unwrap();
    // RTen reads what is mapped: a page that is gone raises SIGBUS.
    file.set_len(0).unwrap();
    let error = model.forward(&batch, &mut out).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Failed);
    let chain = chain(&error);
    assert!(chain.contains("model.onnx_data"), "{chain}");
    assert!(chain.contains("changed while it was in use"), "{chain}");
}

#[test]
fn external_data_outside_the_models_directory_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("model");
    fs::create_dir(&dir).unwrap();
    let outside = parent.path().join("secret.data");
    let absolute = outside.to_str().unwrap();
    for location in ["../secret.data", absolute] {
        let error = load_external(&dir, location, None, &outside).err().unwrap();
        assert_eq!(
            error.kind(),
            BackendErrorKind::InvalidModel,
            "{}",
            chain(&error)
        );
        assert!(chain(&error).contains("words"), "{}", chain(&error));
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, dir.join("link.data")).unwrap();
        let error = load_external(&dir, "link.data", None, &outside)
            .err()
            .unwrap();
        assert_eq!(
            error.kind(),
            BackendErrorKind::InvalidModel,
            "{}",
            chain(&error)
        );
    }
}

#[test]
fn external_data_of_a_model_in_the_program_is_refused() {
    let (model, _) = external("model.onnx_data", None);
    let options = RtenOptions::new(Pooling::Mean);
    let error = RtenModel::from_static(model.leak(), options).err().unwrap();
    assert_eq!(
        error.kind(),
        BackendErrorKind::InvalidModel,
        "{}",
        chain(&error)
    );
}

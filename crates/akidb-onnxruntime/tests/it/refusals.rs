//! What can't be run is refused with an error that says why, and the process goes on.

use std::path::Path;

use akidb_backend::{Backend, BackendErrorKind, Pooling};
use akidb_onnx::proto::tensor_proto::{DataLocation, DataType};
use akidb_onnx::proto::{ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use akidb_onnxruntime::{
    GraphOptions, Library, LibrarySearch, OnnxRuntimeError, OnnxRuntimeModel, OnnxRuntimeOptions,
    Provider, ProviderChoice,
};
use akidb_testing::fixture;
use prost::Message;

use crate::common::{chain, library, load, options, rows};

/// The model `tiny`, changed.
fn changed(dir: &Path, change: impl FnOnce(&mut ModelProto)) -> std::path::PathBuf {
    let bytes = std::fs::read(fixture("tiny/onnx/model.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    change(&mut model);
    let path = dir.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

fn refused(library: &'static Library, path: &Path) -> (BackendErrorKind, String) {
    match load(library, path, Pooling::LastToken).unwrap_err() {
        OnnxRuntimeError::Model(error) => (error.kind(), chain(&error)),
        other => panic!("{other}"),
    }
}

#[test]
fn unknown_inputs_are_named_with_their_types() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |model| {
        let inputs = &mut model.graph.as_mut().unwrap().input;
        let mut pixels = inputs[3].clone();
        pixels.name = Some("pixel_values".to_owned());
        inputs.push(pixels);
    });
    let (kind, message) = refused(library, &path);
    assert_eq!(kind, BackendErrorKind::UnsupportedModel);
    assert!(message.contains("\"pixel_values\": float"), "{message}");
}

#[test]
fn an_unknown_operator_is_named() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes[0].op_type = Some("FourierDream".to_owned());
    });
    let (kind, message) = refused(library, &path);
    assert_eq!(kind, BackendErrorKind::UnsupportedModel);
    assert!(message.contains("FourierDream"), "{message}");
}

#[test]
fn a_graph_that_would_fill_the_memory_is_named_by_its_node() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.push(TensorProto {
            name: Some("large".to_owned()),
            data_type: Some(DataType::Int64 as i32),
            dims: vec![2],
            int64_data: vec![1 << 20, 1 << 20],
            ..Default::default()
        });
        graph.node.push(NodeProto {
            op_type: Some("ConstantOfShape".to_owned()),
            input: vec!["large".to_owned()],
            output: vec!["zeros".to_owned()],
            ..Default::default()
        });
    });
    let (kind, message) = refused(library, &path);
    assert_eq!(kind, BackendErrorKind::UnsupportedModel);
    assert!(message.contains("\"zeros\" (ConstantOfShape)"), "{message}");
}

#[test]
fn external_data_that_is_cut_under_the_engine_is_named_before_a_run() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let onnx = fixture("tiny-external/onnx");
    for entry in std::fs::read_dir(onnx).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, dir.path().join(from.file_name().unwrap())).unwrap();
    }
    let model = load(library, &dir.path().join("model.onnx"), Pooling::LastToken).unwrap();
    rows(&model, &[&[1, 2, 3]]).unwrap();
    let data = std::fs::read_dir(dir.path()).unwrap();
    let data = data.map(|entry| entry.unwrap().path());
    for file in data.filter(|path| path.extension().is_none_or(|e| e != "onnx")) {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(0).unwrap();
    }
    let batch = [[1, 2, 3]].into_iter().collect();
    let mut row = vec![0.0; model.info().hidden_size];
    let error = model.forward(&batch, &mut row).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Failed);
    let message = chain(&error);
    assert!(message.contains("changed while it was in use"), "{message}");
}

#[test]
fn a_width_other_than_stated_is_refused() {
    let Some(library) = library() else { return };
    let options = OnnxRuntimeOptions {
        graph: GraphOptions {
            hidden_size: Some(1024),
            ..GraphOptions::new(Pooling::LastToken)
        },
        ..options(Pooling::LastToken)
    };
    let path = fixture("tiny/onnx/model.onnx");
    let error = OnnxRuntimeModel::load(library, &path, &options).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("1024") && message.contains("28"),
        "{message}"
    );
}

#[test]
fn a_run_that_fails_is_an_error_and_the_next_one_works() {
    let Some(library) = library() else { return };
    let model = load(
        library,
        &fixture("tiny/onnx/model.onnx"),
        Pooling::LastToken,
    )
    .unwrap();
    // 512 positions are all that the rotary tables have.
    let long = vec![1; 600];
    let error = rows(&model, &[&long]).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Failed);
    assert!(error.to_string().starts_with("ONNX Runtime: "), "{error}");
    assert!(rows(&model, &[&[]]).is_err());
    assert!(rows(&model, &[&[300]]).is_err());
    assert_eq!(rows(&model, &[&[1, 2]]).unwrap().len(), 1);
}

#[test]
fn a_tensor_larger_than_memory_does_not_end_the_process() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |model| {
        let graph = model.graph.as_mut().unwrap();
        let mut size = graph.initializer[0].clone();
        size.name = Some("huge_shape".to_owned());
        size.dims = vec![2];
        size.data_type = Some(7);
        let huge = [1i64 << 31, 1 << 31];
        let raw: Vec<u8> = huge.iter().flat_map(|n| n.to_le_bytes()).collect();
        size.raw_data = Some(raw.into());
        graph.initializer.push(size);
        graph.node.push(NodeProto {
            op_type: Some("ConstantOfShape".to_owned()),
            input: vec!["huge_shape".to_owned()],
            output: vec!["huge".to_owned()],
            ..NodeProto::default()
        });
        let mut huge = graph.output[0].clone();
        huge.name = Some("huge".to_owned());
        graph.output.push(huge);
    });
    let (kind, message) = refused(library, &path);
    assert_eq!(kind, BackendErrorKind::UnsupportedModel, "{message}");
}

#[test]
fn broken_files_are_refused() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let whole = std::fs::read(fixture("tiny/onnx/model.onnx")).unwrap();
    for bytes in [&b""[..], b"nonsense", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(refused(library, &path).0, BackendErrorKind::InvalidModel);
    }
}

/// The model `tiny-external` with other entries for the data of its first external tensor.
fn external(dir: &Path, location: &str) -> std::path::PathBuf {
    let from = fixture("tiny-external/onnx");
    std::fs::copy(from.join("model.onnx_data"), dir.join("model.onnx_data")).unwrap();
    let bytes = std::fs::read(from.join("model.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    let mut tensors = tensors.iter_mut();
    let tensor = tensors.find(|t| t.data_location() == DataLocation::External);
    for entry in &mut tensor.unwrap().external_data {
        if entry.key() == "location" {
            *entry = StringStringEntryProto {
                key: Some("location".to_owned()),
                value: Some(location.to_owned()),
            };
        }
    }
    let path = dir.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

#[test]
fn external_data_outside_the_models_directory_is_refused() {
    let Some(library) = library() else { return };
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("model");
    std::fs::create_dir(&dir).unwrap();
    let data = fixture("tiny-external/onnx/model.onnx_data");
    let outside = parent.path().join("secret");
    std::fs::copy(&data, &outside).unwrap();
    for location in ["../secret", outside.to_str().unwrap(), "none"] {
        let (kind, message) = refused(library, &external(&dir, location));
        assert_eq!(kind, BackendErrorKind::InvalidModel, "{message}");
    }
    // ONNX Runtime takes this location for an address, even where there is such a file.
    let address = dir.join("*/_ORT_MEM_ADDR_");
    std::fs::create_dir_all(&address).unwrap();
    std::fs::copy(&data, address.join("*")).unwrap();
    let (kind, message) = refused(library, &external(&dir, "*/_ORT_MEM_ADDR_/*"));
    assert_eq!(kind, BackendErrorKind::UnsupportedModel, "{message}");
    assert!(
        load(
            library,
            &external(&dir, "model.onnx_data"),
            Pooling::LastToken
        )
        .is_ok()
    );
}

#[cfg(unix)]
#[test]
fn a_model_in_the_hugging_face_cache_is_loaded() {
    let Some(library) = library() else { return };
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("blobs");
    let snapshot = cache.path().join("snapshots/1234/onnx");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    for (file, blob) in [("model.onnx", "aa"), ("model.onnx_data", "bb")] {
        std::fs::copy(fixture("tiny-external/onnx").join(file), blobs.join(blob)).unwrap();
        let to = format!("../../../blobs/{blob}");
        std::os::unix::fs::symlink(to, snapshot.join(file)).unwrap();
    }
    let model = load(library, &snapshot.join("model.onnx"), Pooling::LastToken).unwrap();
    assert_eq!(rows(&model, &[&[1, 2, 3]]).unwrap().len(), 1);
}

#[test]
fn a_provider_that_the_library_lacks() {
    let Some(library) = library() else { return };
    assert!(library.providers().contains(&"cpu"));
    let lacking = Provider::NAMES
        .into_iter()
        .find(|name| *name != "plugin" && !library.providers().contains(name))
        .unwrap();
    let options = OnnxRuntimeOptions {
        provider: ProviderChoice::Named(Provider::new(lacking, [("", ""); 0]).unwrap()),
        ..options(Pooling::LastToken)
    };
    let path = fixture("tiny/onnx/model.onnx");
    let error = OnnxRuntimeModel::load(library, &path, &options).unwrap_err();
    assert!(error.to_string().contains(lacking), "{error}");
    assert!(error.hint().unwrap().contains("cpu"));
}

#[test]
fn a_plugin_that_is_none() {
    let Some(library) = library() else { return };
    let path = fixture("tiny/onnx/model.onnx");
    for plugin in [Path::new("/nowhere/libplugin.so"), library.path()] {
        let plugin = Provider::new("plugin", [("library", plugin.to_str().unwrap())]).unwrap();
        let options = OnnxRuntimeOptions {
            provider: ProviderChoice::Named(plugin),
            ..options(Pooling::LastToken)
        };
        let error = OnnxRuntimeModel::load(library, &path, &options).unwrap_err();
        assert!(
            matches!(error, OnnxRuntimeError::ProviderFailed { .. }),
            "{error}"
        );
    }
}

#[test]
fn another_library_after_the_first_is_refused() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("libonnxruntime.so");
    std::fs::copy(library.path(), &copy).unwrap();
    let search = |library: &Path| LibrarySearch {
        library: Some(library.to_owned()),
        ..LibrarySearch::default()
    };
    let message = chain(&Library::find(&search(&copy)).unwrap_err());
    assert!(message.contains("has already opened"), "{message}");
    assert_eq!(
        Library::find(&search(library.path())).unwrap().path(),
        library.path()
    );
    assert!(
        library.version().is_some_and(|v| v.starts_with("1.")),
        "{:?}",
        library.build()
    );
}

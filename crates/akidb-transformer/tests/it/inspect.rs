//! What `inspect` says of the fixtures and of broken files.

use std::fs;
use std::path::{Path, PathBuf};

use akidb_testing::graphs::*;
use akidb_transformer::DecoderConfig;
use akidb_transformer::inspect::{Architecture, Content, Dim, OnnxFile, TensorFile, inspect};
use tempfile::TempDir;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akidb-testing/fixtures")
        .join(file)
}

fn onnx(path: &Path) -> OnnxFile {
    match inspect(path).unwrap().files.remove(0).content {
        Content::Onnx(file) => *file,
        other => panic!("{other:?}"),
    }
}

fn tensors(path: &Path) -> TensorFile {
    match inspect(path).unwrap().files.remove(0).content {
        Content::Safetensors(file) => *file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_onnx_file() {
    let file = onnx(&fixture("tiny-f16/onnx/model_fp16.onnx"));
    assert!(file.producer.starts_with("onnxruntime-genai"));
    assert_eq!(file.opsets["ai.onnx"], 22);
    assert_eq!(file.operators["com.microsoft"]["MultiHeadAttention"], 3);
    assert_eq!(file.operators["ai.onnx"]["MatMul"], 21);
    assert_eq!(file.inputs[0].name, "input_ids");
    assert_eq!(file.inputs[0].dtype, "i64");
    let shape = file.outputs[0].shape.as_ref().unwrap();
    assert_eq!(shape[2], Dim::Fixed(28));
    assert_eq!(shape[0], Dim::Named("batch_size".into()));
    assert_eq!(file.tensors.precision.as_deref(), Some("f16"));
    assert_eq!(
        file.tensors.linear_bytes["f16"],
        2 * 3 * (28 * 96 * 2 + 28 * 32 * 2 + 28 * 52 * 3)
    );
    assert!(file.tensors.external_files.is_empty());
    assert!(file.tensors.disagreements.is_empty());
    let Architecture::Decoder(config) = &file.tensors.architecture else {
        panic!("{:?}", file.tensors.architecture);
    };
    assert_eq!(
        (config.num_attention_heads, config.num_key_value_heads),
        (6, 2)
    );
}

#[test]
fn external_files_there_too_short_and_missing() {
    let here = &onnx(&fixture("tiny-external/onnx/model.onnx"))
        .tensors
        .external_files[0];
    assert_eq!(
        (here.path.as_str(), here.bytes),
        ("model.onnx_data", Some(204_800))
    );
    assert_eq!((here.needed, &here.error), (204_800, &None));

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.onnx");
    fs::copy(fixture("tiny-external/onnx/model.onnx"), &path).unwrap();
    let file = onnx(&path).tensors;
    assert_eq!(file.external_files[0].bytes, None);
    assert!(file.external_files[0].error.is_some());
    assert!(matches!(file.architecture, Architecture::Broken(_)));

    fs::write(dir.path().join("model.onnx_data"), [0; 9]).unwrap();
    let file = onnx(&path).tensors;
    assert_eq!(file.external_files[0].bytes, Some(9));
    assert_eq!(
        file.external_files[0].error.as_deref(),
        Some("is too short")
    );
}

#[test]
fn another_architecture_is_told_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.onnx");
    let mut model = decoder(&small());
    node(&mut model, "1.attention").op_type = Some("PagedAttention".into());
    fs::write(&path, encode(&model)).unwrap();
    let file = onnx(&path).tensors;
    let Architecture::NotRecognised(why) = &file.architecture else {
        panic!("{:?}", file.architecture);
    };
    assert!(why.contains("com.microsoft.PagedAttention"), "{why}");
}

#[test]
fn disagreements_with_config_json_are_all_listed() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("onnx")).unwrap();
    let path = dir.path().join("onnx/model.onnx");
    fs::write(&path, encode(&decoder(&small()))).unwrap();
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture("tiny/config.json")).unwrap()).unwrap();
    json["rope_theta"] = 500_000.into();
    fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    for path in [dir.path(), &path] {
        let keys: Vec<_> = onnx(path)
            .tensors
            .disagreements
            .iter()
            .map(|d| d.key)
            .collect();
        let want = [
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "head_dim",
            "intermediate_size",
            "vocab_size",
            "rope_theta",
            "max_position_embeddings",
        ];
        assert_eq!(keys, want);
    }
}

#[test]
fn safetensors_files_one_and_several() {
    let file = tensors(&fixture("tiny-bf16"));
    assert_eq!(file.precision.as_deref(), Some("bf16"));
    assert!(matches!(file.architecture, Architecture::Decoder(_)));

    let dir = TempDir::new().unwrap();
    fs::copy(fixture("tiny/config.json"), dir.path().join("config.json")).unwrap();
    fs::copy(
        fixture("tiny/model.safetensors"),
        dir.path().join("part.safetensors"),
    )
    .unwrap();
    let index = r#"{"weight_map": {"model.norm.weight": "part.safetensors"}}"#;
    fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let found = inspect(dir.path()).unwrap();
    assert_eq!(found.files.len(), 1);
    let file = tensors(dir.path());
    assert_eq!(file.external_files[0].path, "part.safetensors");
    assert!(
        matches!(file.architecture, Architecture::Decoder(_)),
        "{:?}",
        file.architecture
    );
}

#[test]
fn a_broken_file_does_not_hide_its_neighbours() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.onnx"), b"no").unwrap();
    fs::write(dir.path().join("b.onnx"), encode(&decoder(&small()))).unwrap();
    fs::write(dir.path().join("c.safetensors"), b"no").unwrap();
    fs::write(dir.path().join("config.json"), b"{").unwrap();
    let found = inspect(dir.path()).unwrap();
    assert!(found.config.as_ref().unwrap().error.is_some());
    let kinds = found.files.iter().map(|f| match f.content {
        Content::Onnx(_) => "onnx",
        Content::Safetensors(_) => "safetensors",
        Content::Error(_) => "error",
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["error", "onnx", "error"]);
    let text = found.to_string();
    assert!(
        text.contains("2 layers") && text.contains("is not an ONNX file"),
        "{text}"
    );
    inspect(&dir.path().join("a.onnx")).unwrap_err();
    inspect(&dir.path().join("missing")).unwrap_err();
    let empty = TempDir::new().unwrap();
    let error = inspect(empty.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has no .onnx or .safetensors file"),
        "{error}"
    );
}

#[test]
fn the_report_is_serializable_and_readable() {
    let found = inspect(&fixture("tiny")).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["files"][1]["onnx"]["precision"], "f32");
    assert_eq!(json["files"][1]["onnx"]["outputs"][0]["shape"][2], 28);
    assert_eq!(
        json["files"][0]["safetensors"]["architecture"]["decoder"]["head_dim"],
        16
    );
    let text = found.to_string();
    for part in [
        "precision: f32 (f32 138.4 kB)",
        "input_ids i64 [batch_size, sequence_length]",
        "MultiHeadAttention 3",
        "decoder, 3 layers, hidden_size 28, 6 heads over 2, head_dim 16",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn the_config_of_an_impossible_graph_is_not_invented() {
    let dir = TempDir::new().unwrap();
    let odd = DecoderConfig {
        intermediate_size: 0,
        ..small()
    };
    let path = dir.path().join("model.onnx");
    fs::write(&path, encode(&decoder(&odd))).unwrap();
    let file = onnx(&path).tensors;
    assert!(
        matches!(file.architecture, Architecture::Broken(_)),
        "{:?}",
        file.architecture
    );
}

//! Graphs for CoreML: what is said of any graph, what is written, and ONNX Runtime's answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use akidb_onnx::ErrorKind;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use akidb_onnxruntime::coreml::{
    Coverage, MANIFEST, Manifest, OperatorCount, Precision, WriteOptions, coverage, read, write,
};
use akidb_testing::{builtin_model_dir, fixture, graphs, skip};
use akidb_transformer::{DecoderConfig, Transformer, recognise};

use akidb_testing::graphs::{encode, float, int, new_node, string};

/// Writes `shapes` of the model in `dir`.
fn written(
    dir: &Path,
    file: &str,
    precision: Precision,
    shapes: &str,
) -> (tempfile::TempDir, Manifest) {
    let config = DecoderConfig::open(&dir.join("config.json")).unwrap();
    let model = OnnxModel::open(&dir.join(file)).unwrap();
    let decoder = recognise(&model, Some(&config)).unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = WriteOptions {
        precision,
        shapes: shapes.split(',').map(|s| s.parse().unwrap()).collect(),
        source: file.to_owned(),
    };
    let manifest = write(&decoder, &options, out.path()).unwrap();
    (out, manifest)
}

fn of(coverage: &Coverage, operator: &str) -> OperatorCount {
    coverage
        .operators
        .get(operator)
        .copied()
        .unwrap_or_default()
}

#[test]
fn what_is_written_is_taken_whole() {
    for precision in [Precision::F16, Precision::F32] {
        let (out, manifest) = written(
            &builtin_model_dir(),
            "onnx/model_fp16.onnx",
            precision,
            "8x4,1x32",
        );
        assert_eq!(manifest.shapes.len(), 2);
        for shape in &manifest.shapes {
            let model = OnnxModel::open(&out.path().join(&shape.file)).unwrap();
            let coverage = coverage(&model);
            assert!(coverage.is_whole(), "{precision}: {coverage}");
            assert_eq!((coverage.unknown_shape, coverage.notes.len()), (0, 0));
            // Of 6 layers, 7 products with weights and 2 in attention; and the last token's.
            assert_eq!(of(&coverage, "MatMul").supported, 6 * 9 + 1);
            let text = coverage.to_string();
            assert!(
                text.contains("(100 %) are for CoreML, in one partition"),
                "{text}"
            );
        }
    }
}

#[test]
fn the_manifest_says_what_is_there() {
    let (out, manifest) = written(
        &builtin_model_dir(),
        "onnx/model_fp16.onnx",
        Precision::F16,
        "2x16,1x32,1x8",
    );
    let text = std::fs::read_to_string(out.path().join(MANIFEST)).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    let shapes: Vec<_> = manifest
        .shapes
        .iter()
        .map(|s| (s.batch, s.sequence))
        .collect();
    assert_eq!(shapes, [(1, 8), (2, 16), (1, 32)]);
    assert_eq!((manifest.hidden_size, manifest.vocab_size), (256, 16384));
    for file in [&manifest.weights, &manifest.embed_tokens.file] {
        assert!(out.path().join(file).is_file(), "{file}");
    }
    let table = out.path().join(&manifest.embed_tokens.file);
    let table = std::fs::read(table).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&table).unwrap();
    let tensor = tensors.tensor(&manifest.embed_tokens.tensor).unwrap();
    assert_eq!(tensor.shape(), [16384, 256]);
}

#[test]
fn the_published_graph_is_cut_to_pieces() {
    // The built-in model's graph has the operators of the published one.
    let model = OnnxModel::open(&builtin_model_dir().join("onnx/model_fp16.onnx")).unwrap();
    let coverage = coverage(&model);
    assert!(
        !coverage.is_whole() && coverage.partitions > 6,
        "{coverage}"
    );
    assert!(coverage.variable_shape > 0, "{coverage}");
    let refused = |operator: &str, why: &str| {
        let mut refusals = coverage.refusals.iter();
        refusals.any(|r| r.operator == operator && r.why.contains(why))
    };
    for operator in [
        "Gather",
        "SimplifiedLayerNormalization",
        "com.microsoft:SkipSimplifiedLayerNormalization",
        "com.microsoft:RotaryEmbedding",
        "com.microsoft:MultiHeadAttention",
    ] {
        assert!(
            refused(operator, "not in the table"),
            "{operator}: {coverage}"
        );
        assert_eq!(of(&coverage, operator).supported, 0);
    }
}

/// A graph of one node, whose inputs `a`, `b`, … have these types and shapes; 0 is variable.
fn one(node: NodeProto, inputs: &[(DataType, &[i64])]) -> Coverage {
    let inputs = ["a", "b", "c"]
        .iter()
        .zip(inputs)
        .map(|(name, (dtype, dims))| {
            let dims = dims.iter().map(|&len| Dimension {
                value: (len > 0).then_some(dimension::Value::DimValue(len)),
                denotation: None,
            });
            ValueInfoProto {
                name: Some((*name).to_owned()),
                r#type: Some(TypeProto {
                    value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                        elem_type: Some(*dtype as i32),
                        shape: Some(TensorShapeProto {
                            dim: dims.collect(),
                        }),
                    })),
                    denotation: None,
                }),
                ..Default::default()
            }
        });
    let opset = |domain: &str| akidb_onnx::proto::OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(17),
    };
    let model = ModelProto {
        opset_import: vec![opset(""), opset("com.microsoft")],
        graph: Some(GraphProto {
            input: inputs.collect(),
            node: vec![node],
            ..Default::default()
        }),
        ..Default::default()
    };
    coverage(&OnnxModel::from_bytes(encode(&model)).unwrap())
}

fn node(op_type: &str, inputs: &[&str]) -> NodeProto {
    new_node("", op_type, "n", inputs, &["out"], vec![])
}

#[test]
fn each_restriction_refuses() {
    use DataType::{Float as F32, Float16 as F16, Int64 as I64};
    let with = |mut node: NodeProto, attribute| {
        graphs::set(&mut node, attribute);
        node
    };
    let refused = |node: NodeProto, inputs: &[(DataType, &[i64])], why: &str| {
        let found = one(node, inputs);
        let reasons = found.refusals.iter();
        assert!(
            reasons.clone().any(|r| r.why.contains(why)),
            "{why}: {found}"
        );
        assert_eq!((found.supported, found.partitions), (0, 0));
    };
    refused(node("Gather", &["a"]), &[(F32, &[2])], "not in the table");
    refused(
        node("Add", &["a", "b"]),
        &[(F32, &[1]), (F32, &[16_385])],
        "16385 long",
    );
    refused(node("Add", &["a"]), &[(F32, &[1, 1, 1, 1, 1, 1])], "6 axes");
    refused(node("Add", &["a"]), &[(I64, &[1])], "input 0 is i64");
    refused(node("Softmax", &["a"]), &[(F16, &[1])], "input 0 is f16");
    refused(
        node("Pow", &["a", "b"]),
        &[(F32, &[1]), (I64, &[1])],
        "input 1 is i64",
    );
    refused(node("Cast", &["a"]), &[(F32, &[1])], "comes from no node");
    refused(
        node("Reshape", &["a", "b"]),
        &[(F32, &[1]), (I64, &[1])],
        "input 1 is not a constant",
    );
    refused(
        node("Conv", &["a"]),
        &[(F32, &[1, 1, 1, 1, 1])],
        "input 0 has 5 axes",
    );
    refused(node("Slice", &["a"]), &[(F32, &[0])], "variable axis");
    refused(
        with(node("Gemm", &["a"]), int("transA", 1)),
        &[(F32, &[1, 1])],
        "transA is 1",
    );
    refused(
        with(node("Gemm", &["a"]), float("alpha", 0.5)),
        &[(F32, &[1, 1])],
        "alpha is 0.5",
    );
    refused(
        with(
            node("ConvTranspose", &["a"]),
            string("auto_pad", "SAME_UPPER"),
        ),
        &[(F32, &[1, 1, 1, 1])],
        "auto_pad is SAME_UPPER",
    );
    refused(
        with(
            node("ConvTranspose", &["a"]),
            graphs::ints("output_shape", &[1]),
        ),
        &[(F32, &[1, 1, 1, 1])],
        "it has output_shape",
    );
}

#[test]
fn what_is_taken_with_a_reservation_is_noted() {
    let found = one(node("Reciprocal", &["a"]), &[(DataType::Float, &[1])]);
    assert_eq!((found.supported, found.notes.len()), (1, 1));
    let found = one(
        node("Add", &["a", "b"]),
        &[(DataType::Float, &[0, 4]), (DataType::Float, &[4])],
    );
    assert_eq!((found.supported, found.variable_shape), (1, 1));
    assert!(!found.is_whole());
}

#[test]
fn a_hostile_graph_is_shown_in_bounds() {
    let mut many = GraphProto::default();
    for i in 0..5_000 {
        let mut node = node(&format!("\u{1b}[31m{i}"), &[]);
        node.output = vec![format!("v{i}")];
        many.node.push(node);
    }
    let model = ModelProto {
        opset_import: vec![akidb_onnx::proto::OperatorSetIdProto {
            domain: None,
            version: Some(17),
        }],
        graph: Some(many),
        ..Default::default()
    };
    let found = coverage(&OnnxModel::from_bytes(encode(&model)).unwrap());
    assert_eq!(
        (found.nodes, found.supported, found.partitions),
        (5_000, 0, 0)
    );
    let text = found.to_string();
    assert!(
        text.len() < 10_000 && !text.contains('\u{1b}'),
        "{}",
        text.len()
    );
}

/// A decoder with a weight that is beyond f16.
fn beyond_f16() -> Transformer {
    let config = graphs::small();
    let mut model = graphs::decoder(&config);
    let weight = graphs::initializer(&mut model, "0.up_proj.weight");
    let mut bytes = weight.raw_data.take().unwrap().to_vec();
    bytes[..4].copy_from_slice(&1e5f32.to_le_bytes());
    weight.raw_data = Some(bytes.into());
    let model = OnnxModel::from_bytes(encode(&model)).unwrap();
    recognise(&model, None).unwrap()
}

fn options(precision: Precision, shape: &str) -> WriteOptions {
    WriteOptions {
        precision,
        shapes: vec![shape.parse().unwrap()],
        source: "x".to_owned(),
    }
}

#[test]
fn weights_that_f16_cannot_hold_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let decoder = beyond_f16();
    write(&decoder, &options(Precision::F32, "1x4"), out.path()).unwrap();
    let error = write(&decoder, &options(Precision::F16, "1x4"), out.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tensor { .. }), "{error}");
    assert!(
        error.to_string().contains("layers.0.up_proj.weight"),
        "{error}"
    );
}

/// All files under `dir` with their bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for directory in [dir.to_owned(), dir.join("coreml"), dir.join("coreml.2")] {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_was_written_before_stays_whole_until_the_new_files_are() {
    let out = tempfile::tempdir().unwrap();
    let decoder = beyond_f16();
    let first = write(&decoder, &options(Precision::F32, "1x4"), out.path()).unwrap();
    let before = files(out.path());
    // Ends midway, as if it were killed.
    write(&decoder, &options(Precision::F16, "1x4"), out.path()).unwrap_err();
    let after = files(out.path());
    for (name, bytes) in &before {
        assert!(after.get(name) == Some(bytes), "{name}");
    }
    assert_eq!(read(&out.path().join(MANIFEST)).unwrap().manifest, first);

    let second = write(&decoder, &options(Precision::F32, "2x4"), out.path()).unwrap();
    assert_ne!(second.weights, first.weights);
    assert_eq!(read(&out.path().join(MANIFEST)).unwrap().manifest, second);
    assert_eq!(files(out.path()).len(), before.len());
    let third = write(&decoder, &options(Precision::F32, "1x4"), out.path()).unwrap();
    assert_eq!(third, first);
    assert!(files(out.path()) == before);
}

/// A Python that has ONNX Runtime: `$PYTHON`, else `python3`.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let imports = Command::new(&python)
        .args(["-c", "import numpy, onnxruntime"])
        .output();
    imports
        .is_ok_and(|out| out.status.success())
        .then_some(python)
}

/// The least cosine to the golden vectors by shape, with the number of texts.
fn least_cosines(python: &Path, dir: &Path, golden: &str) -> Vec<(String, u64, f64)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(python)
        .arg(root.join("scripts/coreml_onnxruntime.py"))
        .arg(dir)
        .arg(root.join("crates/akidb-testing/goldens").join(golden))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (
            line["shape"].as_str().unwrap().to_owned(),
            line["texts"].as_u64().unwrap(),
            line["least_cosine"].as_f64().unwrap(),
        )
    };
    lines.lines().map(line).collect()
}

#[test]
fn onnxruntime_answers_as_pytorch() {
    let Some(python) = python() else {
        skip(
            "no Python with numpy and onnxruntime ($PYTHON or python3): CoreML graphs are not run",
        );
        return;
    };
    for (dir, file, golden) in [
        (fixture("tiny"), "onnx/model.onnx", "tiny.jsonl"),
        (
            builtin_model_dir(),
            "onnx/model_fp16.onnx",
            "akidb-mini.jsonl",
        ),
    ] {
        for (precision, least) in [(Precision::F32, 0.999_99), (Precision::F16, 0.999)] {
            let (out, manifest) = written(&dir, file, precision, "1x16,3x64,1x500");
            let found = least_cosines(&python, out.path(), golden);
            assert_eq!(found.len(), manifest.shapes.len());
            for (shape, texts, cosine) in found {
                assert!(texts >= 3, "{golden} {shape}: {texts} texts");
                assert!(cosine >= least, "{golden} {precision} {shape}: {cosine}");
            }
        }
    }
}

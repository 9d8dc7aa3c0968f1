//! Against what PyTorch answered.

use std::num::NonZeroUsize;

use crate::common::{engine, engine_of, run};
use akidb_backend::Pooling;
use akidb_native::{Engine, EngineOptions, Precision};
use akidb_onnx::model::OnnxModel;
use akidb_testing::max_abs_diff;
use akidb_testing::{akidb_mini_goldens, builtin_model_dir, cosine, fixture, hidden_goldens};
use akidb_transformer::{
    DecoderConfig, Head, ModelConfig, Transformer, decoder_from_safetensors, from_safetensors,
    recognise,
};

/// The engine with an ONNX file of a model directory.
fn from_onnx(dir: &std::path::Path, file: &str) -> Engine {
    let config = DecoderConfig::open(&dir.join("config.json")).unwrap();
    let model = OnnxModel::open(&dir.join(file)).unwrap();
    engine(&recognise(&model, Some(&config)).unwrap(), 2, None)
}

fn check_tiny(engine: &Engine, fixture: &str, limit: f32) {
    let goldens = hidden_goldens(fixture);
    let texts: Vec<Vec<u32>> = goldens.iter().map(|golden| golden.ids.clone()).collect();
    let mut worst = 0.0_f32;
    for (golden, row) in goldens.iter().zip(run(engine, &texts)) {
        assert!(cosine(&golden.hidden, &row) >= 0.999_999, "{fixture}");
        worst = worst.max(max_abs_diff(&golden.hidden, &row));
    }
    eprintln!("{fixture}: largest difference {worst:e}");
    assert!(worst <= limit, "{fixture}: {worst}");
}

#[test]
fn tiny_safetensors() {
    for name in ["tiny", "tiny-f16", "tiny-bf16"] {
        let dir = fixture(name);
        let config = DecoderConfig::open(&dir.join("config.json")).unwrap();
        let decoder = decoder_from_safetensors(&dir, &config).unwrap();
        check_tiny(&engine(&decoder, 2, None), name, 2e-5);
    }
}

#[test]
fn tiny_onnx() {
    check_tiny(
        &from_onnx(&fixture("tiny"), "onnx/model.onnx"),
        "tiny",
        2e-5,
    );
    let external = from_onnx(&fixture("tiny-external"), "onnx/model.onnx");
    check_tiny(&external, "tiny", 2e-5);
    let f16 = from_onnx(&fixture("tiny-f16"), "onnx/model_fp16.onnx");
    check_tiny(&f16, "tiny-f16", 2e-5);
    let gqa = from_onnx(&fixture("tiny-gqa"), "onnx/model.onnx");
    check_tiny(&gqa, "tiny", 2e-5);
    let opset23 = from_onnx(&fixture("tiny-opset23"), "onnx/model.onnx");
    check_tiny(&opset23, "tiny", 2e-5);
    let dequantized = from_onnx(&fixture("tiny-opset23"), "onnx/model_qdq.onnx");
    check_tiny(&dequantized, "tiny-opset23/model_qdq", 2e-5);
}

#[test]
fn quantized_onnx() {
    for name in [
        "model_bnb4",
        "model_gqa",
        "model_int8",
        "model_int8_per_channel",
        "model_mixed",
        "model_q4",
        "model_q4_table",
        "model_q4f16",
        "model_q8_table",
        "model_uint8",
    ] {
        let engine = from_onnx(&fixture("tiny-quantized"), &format!("onnx/{name}.onnx"));
        check_tiny(&engine, &format!("tiny-quantized/{name}"), 2e-5);
    }
}

/// As [`check_tiny`], where the largest difference is that of a value to the largest of its row.
fn check_relative(engine: &Engine, name: &str, what: &str, limit: f32) {
    let goldens = hidden_goldens(name);
    let texts: Vec<Vec<u32>> = goldens.iter().map(|golden| golden.ids.clone()).collect();
    let mut worst = 0.0_f32;
    for (golden, row) in goldens.iter().zip(run(engine, &texts)) {
        let largest = golden.hidden.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
        worst = worst.max(max_abs_diff(&golden.hidden, &row) / largest);
    }
    eprintln!("{name} {what}: largest difference {worst:e}");
    assert!(worst <= limit, "{name} {what}: {worst}");
}

/// A wrong epsilon or GELU is 3e-5 of the largest value or more.
#[test]
fn tiny_bert() {
    let dir = fixture("tiny-bert");
    let config = ModelConfig::open(&dir.join("config.json")).unwrap();
    // The golden states are those of first tokens, which its tensors don't say.
    let encoder = |model: Transformer, precision| {
        let options = EngineOptions {
            threads: NonZeroUsize::new(2),
            precision,
            pooling: Some(Pooling::Cls),
            ..EngineOptions::default()
        };
        Engine::new(&model, options).unwrap()
    };
    let safetensors = from_safetensors(&dir, &config).unwrap();
    let check = |model: Transformer, precision, what: &str, limit| {
        check_relative(&encoder(model, precision), "tiny-bert", what, limit);
    };
    check(safetensors.clone(), Precision::F32, "f32", 1e-5);
    check(safetensors.clone(), Precision::Bf16, "bf16", 3e-2);
    check(safetensors, Precision::Int8, "int8", 5e-2);
    for (file, limit) in [
        ("model.onnx", 1e-5),
        ("model_o2.onnx", 1e-5),
        ("model_int8.onnx", 5e-2),
    ] {
        let graph = OnnxModel::open(&dir.join("onnx").join(file)).unwrap();
        let model = akidb_transformer::from_onnx(&graph, Some(&config)).unwrap();
        check(model, Precision::Auto, file, limit);
    }
}

/// Those that turn their heads, from tensors and from a graph.
#[test]
fn tiny_families() {
    for (family, head) in [
        ("nomic", Head::Mean),
        ("modernbert", Head::FirstToken),
        ("gemma", Head::Mean),
        ("qwen3-bidirectional", Head::Mean),
    ] {
        let name = format!("tiny-families/{family}");
        let dir = fixture(&name);
        let config = ModelConfig::open(&dir.join("config.json")).unwrap();
        let tensors = from_safetensors(&dir, &config).unwrap();
        let graph = OnnxModel::open(&dir.join("onnx/model.onnx")).unwrap();
        let graph = akidb_transformer::from_onnx(&graph, Some(&config)).unwrap();
        for (mut model, what) in [(tensors, "tensors"), (graph, "graph")] {
            model.head = head;
            let engine = |precision| engine_of(&model, 2, None, precision);
            check_relative(&engine(Precision::F32), &name, what, 1e-5);
            check_relative(&engine(Precision::Bf16), &name, what, 5e-2);
            check_relative(&engine(Precision::Int8), &name, what, 1e-1);
        }
    }
}

#[test]
fn built_in_model() {
    let engine = from_onnx(&builtin_model_dir(), "onnx/model_fp16.onnx");
    let goldens = akidb_mini_goldens();
    let texts: Vec<Vec<u32>> = goldens.iter().map(|golden| golden.ids.clone()).collect();
    let mut worst = 0.0_f32;
    for (golden, row) in goldens.iter().zip(run(&engine, &texts)) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let unit: Vec<f32> = row.iter().map(|v| v / norm).collect();
        assert!(
            cosine(&golden.vector, &row) >= 0.999_999,
            "{:?}",
            golden.text
        );
        worst = worst.max(max_abs_diff(&golden.vector, &unit));
    }
    eprintln!("akidb-mini: largest difference {worst:e}");
    assert!(worst <= 2e-5, "{worst}");
}

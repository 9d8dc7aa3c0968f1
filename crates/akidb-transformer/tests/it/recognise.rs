//! The built-in model and the fixtures are recognised with their sizes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use akidb_onnx::model::OnnxModel;
use akidb_onnx::tensor::DataType;
use akidb_transformer::{
    DecoderConfig, LinearWeight, Transformer, decoder_from_safetensors, recognise,
};
use safetensors::SafeTensors;

fn mini(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/akidb-mini")
        .join(file)
}

#[test]
fn the_built_in_model_is_recognised() {
    let model = OnnxModel::open(&mini("onnx/model_fp16.onnx")).unwrap();
    let decoder = recognise(&model, None).unwrap();
    let want = DecoderConfig {
        hidden_size: 256,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 64,
        intermediate_size: 768,
        vocab_size: 16384,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        max_position_embeddings: 2048,
    };
    assert_eq!(decoder.decoder_config(), want);
    assert_eq!(decoder.blocks.len(), 6);
    for (i, layer) in decoder.blocks.iter().enumerate() {
        let LinearWeight::InOut(weight) = layer.attention.key.weight() else {
            panic!("{:?}", layer.attention.key.weight());
        };
        assert_eq!(
            weight.name(),
            format!("model.layers.{i}.attn.k_proj.MatMul.weight")
        );
        assert_eq!(
            (weight.dims(), weight.dtype()),
            (&[256, 128][..], DataType::F16)
        );
        let name = format!("model.layers.{i}.post_attention_layernorm.weight");
        let norm = layer.mlp_norms.before.as_ref().unwrap();
        assert_eq!(norm.weight.name(), name);
    }
    assert_eq!(
        decoder.final_norm.unwrap().weight.name(),
        "model.layers.6.final_norm_layernorm.weight"
    );
}

#[test]
fn the_built_in_model_agrees_with_its_config() {
    let config = DecoderConfig::open(&mini("config.json")).unwrap();
    let model = OnnxModel::open(&mini("onnx/model_fp16.onnx")).unwrap();
    assert_eq!(
        recognise(&model, Some(&config)).unwrap().decoder_config(),
        config
    );
}

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akidb-testing/fixtures")
        .join(file)
}

fn onnx_fixture(name: &str, file: &str) -> Transformer {
    let config = DecoderConfig::open(&fixture(name).join("config.json")).unwrap();
    let model = OnnxModel::open(&fixture(name).join(file)).unwrap();
    let decoder = recognise(&model, Some(&config)).unwrap();
    assert_eq!(decoder.decoder_config(), config);
    let alone = recognise(&model, None).unwrap();
    assert_eq!(alone.decoder_config(), config, "{name} without config.json");
    decoder
}

/// Every tensor, linear weights as `[out, in]`.
fn weights(decoder: &Transformer) -> Vec<Vec<f32>> {
    let (blocks, norm) = decoder.decoder_blocks().unwrap();
    let mut all = vec![
        decoder.embeddings.words.tensor().to_f32_vec().unwrap(),
        norm.to_f32_vec().unwrap(),
    ];
    for block in blocks {
        for norm in [
            block.input_layernorm,
            block.q_norm,
            block.k_norm,
            block.post_attention_layernorm,
        ] {
            all.push(norm.to_f32_vec().unwrap());
        }
        for linear in block.linears() {
            let mut weight = vec![0.0; linear.in_features() * linear.out_features()];
            linear.dequantize(0, &mut weight).unwrap();
            all.push(weight);
        }
    }
    all
}

#[test]
fn onnx_and_safetensors_files_of_one_model_are_the_same_decoder() {
    for (name, file) in [
        ("tiny", "onnx/model.onnx"),
        ("tiny-f16", "onnx/model_fp16.onnx"),
    ] {
        let onnx = onnx_fixture(name, file);
        let path = fixture(name).join("model.safetensors");
        for path in [&*path, &fixture(name)] {
            let safetensors = decoder_from_safetensors(path, &onnx.decoder_config()).unwrap();
            assert!(weights(&safetensors) == weights(&onnx), "{name}");
        }
    }
}

#[test]
fn external_weights_are_those_of_the_inline_file() {
    let inline = onnx_fixture("tiny", "onnx/model.onnx");
    let external = onnx_fixture("tiny-external", "onnx/model.onnx");
    assert!(weights(&inline) == weights(&external));
}

#[test]
fn bf16_safetensors_are_read() {
    let config = DecoderConfig::open(&fixture("tiny-bf16/config.json")).unwrap();
    let decoder = decoder_from_safetensors(&fixture("tiny-bf16"), &config).unwrap();
    assert_eq!(decoder.embeddings.words.tensor().dtype(), DataType::BF16);
    assert_eq!(decoder.blocks.len(), 3);
}

#[test]
fn a_model_in_several_safetensors_files() {
    let whole = fs::read(fixture("tiny/model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&whole).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut weight_map = HashMap::new();
    for part in 0..3 {
        let file = format!("model-{part}.safetensors");
        let tensors: Vec<_> = whole.tensors().into_iter().skip(part).step_by(3).collect();
        weight_map.extend(tensors.iter().map(|(name, _)| (name.clone(), file.clone())));
        let bytes = safetensors::serialize(tensors, None).unwrap();
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    let index = serde_json::json!({"weight_map": weight_map});
    let path = dir.path().join("model.safetensors.index.json");
    fs::write(path, index.to_string()).unwrap();
    let config = DecoderConfig::open(&fixture("tiny/config.json")).unwrap();
    let parts = decoder_from_safetensors(dir.path(), &config).unwrap();
    let one = decoder_from_safetensors(&fixture("tiny"), &config).unwrap();
    assert!(weights(&parts) == weights(&one));
}

#[test]
fn grouped_and_repeated_attention_of_one_model_are_the_same_decoder() {
    let grouped = onnx_fixture("tiny-gqa", "onnx/model.onnx");
    assert!(weights(&grouped) == weights(&onnx_fixture("tiny", "onnx/model.onnx")));
}

#[test]
fn the_same_decoder_in_operators_of_onnx() {
    let standard = onnx_fixture("tiny-opset23", "onnx/model.onnx");
    assert!(weights(&standard) == weights(&onnx_fixture("tiny", "onnx/model.onnx")));
}

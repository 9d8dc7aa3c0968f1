//! The files that the fuzz target `onnx` starts from: small, and each with other parts.

use std::fs;
use std::path::PathBuf;

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_testing::graphs::quantize::*;
use akidb_testing::graphs::standard::*;
use akidb_testing::graphs::*;
use akidb_transformer::{DecoderConfig, recognise};

fn seeds() -> Vec<(&'static str, ModelProto)> {
    let least = DecoderConfig {
        hidden_size: 2,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 4,
        intermediate_size: 1,
        vocab_size: 2,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        max_position_embeddings: 3,
    };
    let one_layer = decoder(&least);

    let mut other_members = one_layer.clone();
    let norm = initializer(&mut other_members, "norm.weight");
    norm.raw_data = None;
    norm.float_data = vec![1.0, 2.0];
    let table = initializer(&mut other_members, "embed_tokens");
    table.data_type = Some(10);
    table.raw_data = None;
    table.int32_data = vec![0x3c00, 0x4000, 0, 0xbc00];

    let mut plain_sums = decoder(&least);
    let names = ["0.post_attention_layernorm", "norm"];
    for name in names {
        let skip = node(&mut plain_sums, name);
        let sum = format!("{name}.sum");
        let add = new_node(
            "",
            "Add",
            &sum,
            &[&skip.input[0], &skip.input[1]],
            &[&sum],
            vec![],
        );
        skip.input = vec![sum, skip.input[2].clone()];
        skip.output.truncate(1);
        skip.domain = None;
        skip.op_type = Some("SimplifiedLayerNormalization".into());
        graph(&mut plain_sums).node.push(add);
    }

    let mut quantized = decoder(&least);
    to_nbits(&mut quantized, "0.q_proj", 4);
    to_nbits(&mut quantized, "0.k_proj", 8);
    to_bnb4(&mut quantized, "0.o_proj");
    to_integer(
        &mut quantized,
        &["0.gate_proj", "0.up_proj"],
        DataType::Int8,
    );
    to_quantized_table(&mut quantized);

    let mut standard = decoder(&least);
    standard_norms(&mut standard);
    standard_rotary(&mut standard, &least);
    standard_attention(&mut standard, &least);
    let mut standard_heads = standard.clone();
    heads_first(&mut standard_heads, &least);
    bool_mask(&mut standard_heads);
    let attention = node(&mut standard_heads, "0.attention");
    attention.input[3] = "bool_mask".into();
    set(attention, int("is_causal", 0));

    let mut dequantized = decoder(&least);
    for (linear, dtype, transposed, axis, block_size) in [
        ("0.q_proj", DataType::Int4, false, Some(0), 2),
        ("0.k_proj", DataType::Uint4, true, Some(1), 2),
        ("0.v_proj", DataType::Int8, false, Some(0), 0),
        ("0.o_proj", DataType::Uint8, false, Some(1), 0),
        ("0.down_proj", DataType::Int8, true, None, 0),
    ] {
        let form = Dequantize {
            dtype,
            transposed,
            axis,
            block_size,
        };
        to_dequantize(&mut dequantized, linear, form);
    }

    let two_layers = decoder(&DecoderConfig {
        num_hidden_layers: 2,
        ..least
    });
    vec![
        ("dequantized.onnx", dequantized),
        ("one-layer.onnx", one_layer),
        ("other-members.onnx", other_members),
        ("plain-sums.onnx", plain_sums),
        ("quantized.onnx", quantized),
        ("standard.onnx", standard),
        ("standard-heads.onnx", standard_heads),
        ("two-layers.onnx", two_layers),
    ]
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fuzz/seeds/onnx", name]
        .iter()
        .collect()
}

#[test]
fn the_seeds_are_what_this_file_makes_and_are_decoders() {
    for (name, model) in seeds() {
        assert!(
            fs::read(path(name)).unwrap() == encode(&model),
            "{name} is out of date"
        );
        recognise(&OnnxModel::open(&path(name)).unwrap(), None).unwrap();
    }
}

#[test]
#[ignore = "writes fuzz/seeds/onnx"]
fn write_the_seeds() {
    for (name, model) in seeds() {
        fs::write(path(name), encode(&model)).unwrap();
    }
}

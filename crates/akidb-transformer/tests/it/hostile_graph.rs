//! Attacks through the bytes of an ONNX file: an error each, never a panic, never much memory.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::graphs::*;
use akidb_transformer::{DecoderConfig, recognise};
use bytes::Bytes;
use prost::Message;

fn open(model: &ModelProto) -> Result<OnnxModel, Error> {
    OnnxModel::from_bytes(encode(model))
}

/// Opening or recognising the changed model fails; gives the error's text.
fn broken(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = decoder(&small());
    change(&mut model);
    let error = match open(&model) {
        Err(error) => error,
        Ok(model) => recognise(&model, None).unwrap_err(),
    };
    assert!(!error.is_not_recognised(), "called sound: {error}");
    error.to_string()
}

fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn every_prefix_of_a_model_is_refused() {
    let config = DecoderConfig {
        num_hidden_layers: 1,
        ..small()
    };
    let whole = encode(&decoder(&config));
    recognise(&OnnxModel::from_bytes(whole.clone()).unwrap(), None).unwrap();
    for len in 0..whole.len() {
        let prefix = OnnxModel::from_bytes(whole.slice(..len));
        assert!(prefix.is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn every_flipped_byte_is_survived() {
    let config = DecoderConfig {
        num_hidden_layers: 1,
        ..small()
    };
    let whole = encode(&decoder(&config));
    for i in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[i] ^= flip;
            if let Ok(model) = OnnxModel::from_bytes(bytes.into()) {
                let _ = recognise(&model, None);
            }
        }
    }
}

#[test]
fn every_rewired_input_is_survived() {
    let config = DecoderConfig {
        num_hidden_layers: 1,
        ..small()
    };
    let model = decoder(&config);
    let nodes = &model.graph.as_ref().unwrap().node;
    let mut values: Vec<String> = nodes.iter().flat_map(|n| n.output.clone()).collect();
    values.extend(["", "input_ids", "norm.weight", "cos"].map(String::from));
    let mut recognised = 0;
    for (i, inputs) in nodes.iter().map(|n| n.input.len()).enumerate() {
        for input in 0..inputs {
            for value in &values {
                let mut model = model.clone();
                graph(&mut model).node[i].input[input].clone_from(value);
                let opened = open(&model);
                recognised += usize::from(opened.is_ok_and(|m| recognise(&m, None).is_ok()));
            }
        }
    }
    // Those that change nothing, or what a decoder doesn't depend on: shapes of the mask.
    println!("{recognised} of the rewired graphs are decoders");
    assert!(recognised > nodes.len());
}

#[test]
fn a_long_chain_of_casts_does_not_hang() {
    let mut model = decoder(&small());
    let mut value = "embed".to_owned();
    for i in 0..50_000 {
        let name = format!("cast{i}");
        let cast = new_node("", "Cast", "", &[&value], &[&name], vec![int("to", 1)]);
        graph(&mut model).node.push(cast);
        value = name;
    }
    node(&mut model, "0.input_layernorm").input[0] = value;
    let error = recognise(&open(&model).unwrap(), None).unwrap_err();
    assert!(error.is_not_recognised(), "{error}");
}

#[test]
fn no_graph_and_no_opset() {
    let error = OnnxModel::from_bytes(Bytes::new()).unwrap_err();
    assert_names(&error.to_string(), &["graph", "missing"]);
    assert_names(&broken(|m| m.opset_import.clear()), &["opset_import"]);
    let text = broken(|m| {
        m.opset_import.pop();
    });
    assert_names(&text, &["com.microsoft", "opset_import"]);
}

#[test]
fn other_files_are_refused() {
    for bytes in [
        &b"{\"model_type\": \"qwen3\"}"[..],
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123",
        b"<!DOCTYPE html><html></html>",
        &[0xff; 64],
        &[0x00; 64],
    ] {
        OnnxModel::from_bytes(Bytes::copy_from_slice(bytes)).unwrap_err();
    }
}

/// Field `number` with a body, as protobuf.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn millions_of_tiny_fields_are_refused_before_they_are_decoded() {
    const GRAPH: u8 = 7;
    for (what, inside) in [
        ("nodes", vec![1 << 3 | 2, 0]),
        ("initializers", vec![5 << 3 | 2, 0]),
        ("value infos", field(13, &[2 << 3 | 2, 0])),
        ("attributes", field(1, &[5 << 3 | 2, 0].repeat(50))),
        ("node inputs", field(1, &[1 << 3 | 2, 0].repeat(50))),
        ("dims", field(5, &[1 << 3, 1].repeat(50))),
        ("packed dims", field(5, &field(1, &[1; 100]))),
        ("integers", field(5, &field(7, &[1; 100]))),
        ("strings", field(5, &[6 << 3 | 2, 0].repeat(50))),
        (
            "tensor attributes",
            field(1, &field(5, &[10 << 3 | 2, 0].repeat(40))),
        ),
    ] {
        let count = 24_000_000 / inside.len();
        let bytes = field(GRAPH, &inside.repeat(count));
        let error = OnnxModel::from_bytes(bytes.into()).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::TooLarge { .. }),
            "{what}: {error}"
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = GraphProto::default();
    for _ in 0..25 {
        let attribute = AttributeProto {
            g: Some(Box::new(graph)),
            ..Default::default()
        };
        let node = NodeProto {
            attribute: vec![attribute],
            ..Default::default()
        };
        graph = GraphProto {
            node: vec![node],
            ..Default::default()
        };
    }
    let model = ModelProto {
        graph: Some(graph),
        ..Default::default()
    };
    let error = open(&model).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooDeep { .. }), "{error}");

    // Far deeper than a stack holds: sequences of sequences of …
    let mut bytes = Vec::new();
    for _ in 0..200_000 {
        let mut outer = vec![9 << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        // Built inside out, so put the body's end first.
        bytes = [bytes, outer.into_iter().rev().collect()].concat();
        if bytes.len() > 100_000 {
            break;
        }
    }
    bytes.reverse();
    let bytes = field(7, &field(11, &field(2, &bytes)));
    OnnxModel::from_bytes(bytes.into()).unwrap_err();
}

#[test]
fn raw_data_is_shared_with_the_file() {
    let bytes = encode(&decoder(&small()));
    let model = OnnxModel::from_bytes(bytes.clone()).unwrap();
    let file = bytes.as_ptr_range();
    for initializer in &model.graph().initializer {
        let tensor = model.initializer(initializer.name()).unwrap().unwrap();
        let data = tensor.data().as_ptr_range();
        assert!(
            file.start <= data.start && data.end <= file.end,
            "{}",
            tensor.name()
        );
    }
}

#[test]
fn a_model_survives_being_written_again() {
    let model = decoder(&small());
    assert_eq!(ModelProto::decode(encode(&model)).unwrap(), model);
}

#[test]
fn a_name_defined_twice() {
    let text = broken(|m| {
        let again = initializer(m, "norm.weight").clone();
        graph(m).initializer.push(again);
    });
    assert_names(&text, &["initializer", "norm.weight", "twice"]);
    let text = broken(|m| {
        let again = node(m, "1.o_proj").clone();
        graph(m).node.push(again);
    });
    assert_names(&text, &["1.o_proj", "twice"]);
    let text = broken(|m| {
        node(m, "norm").output[3] = "input_ids".into();
    });
    assert_names(&text, &["input_ids", "twice"]);
    let text = broken(|m| node(m, "norm").output[3] = "cos".into());
    assert_names(&text, &["cos", "twice"]);
    let text = broken(|m| node(m, "norm").output[3] = "norm".into());
    assert_names(&text, &["norm", "twice"]);
    let text = broken(|m| {
        let again = graph(m).input[0].clone();
        graph(m).input.push(again);
    });
    assert_names(&text, &["input_ids", "twice"]);
}

#[test]
fn a_cycle() {
    let text = broken(|m| node(m, "embed").input[1] = "1.o_proj".into());
    assert_names(&text, &["depends on itself"]);
    let text = broken(|m| node(m, "0.sigmoid").input[0] = "0.sigmoid".into());
    assert_names(&text, &["0.sigmoid", "depends on itself"]);
}

#[test]
fn values_from_nowhere() {
    let text = broken(|m| node(m, "0.k_proj").input[1] = "elsewhere".into());
    assert_names(&text, &["0.k_proj", "elsewhere"]);
    let text = broken(|m| graph(m).output[0].name = Some("elsewhere".into()));
    assert_names(&text, &["output", "elsewhere"]);
}

#[test]
fn impossible_dims() {
    let name = "0.q_proj.weight";
    let text = broken(|m| initializer(m, name).dims = vec![-6, 32]);
    assert_names(&text, &[name, "impossible shape [-6, 32]"]);
    let text = broken(|m| initializer(m, name).dims = vec![i64::MIN, 1]);
    assert_names(&text, &[name, "impossible shape"]);
    let text = broken(|m| initializer(m, name).dims = vec![1 << 32, 1 << 32]);
    assert_names(&text, &[name, "too large"]);
    // The product wraps around to the true one.
    let text = broken(|m| initializer(m, name).dims = vec![1 << 62, 4, 6, 32]);
    assert_names(&text, &[name, "too large"]);
    let text = broken(|m| initializer(m, name).dims = vec![6, 33]);
    assert_names(&text, &[name, "[6, 33]", "792 bytes", "768"]);
    let text = broken(|m| initializer(m, name).dims = vec![0, 32]);
    assert_names(&text, &[name, "768"]);
}

#[test]
fn values_that_do_not_fill_the_shape() {
    let name = "norm.weight";
    let text = broken(|m| initializer(m, name).raw_data = None);
    assert_names(&text, &[name, "24 bytes", "there are 0"]);
    let text = broken(|m| initializer(m, name).raw_data = Some(Bytes::from_static(&[0; 25])));
    assert_names(&text, &[name, "24 bytes", "25"]);
    let text = broken(|m| initializer(m, name).float_data = vec![1.0; 6]);
    assert_names(&text, &[name, "twice"]);
}

#[test]
fn tensors_that_contradict_each_other() {
    let c = small();
    let (h, q, k) = (c.hidden_size, 32, 16);
    for (name, dims) in [
        ("embed_tokens", vec![c.vocab_size, h + 1]),
        ("embed_tokens", vec![c.vocab_size * h]),
        ("norm.weight", vec![h + 1]),
        ("norm.weight", vec![h, 1]),
        ("1.input_layernorm.weight", vec![h - 1]),
        ("0.post_attention_layernorm.weight", vec![1]),
        ("0.q_proj.weight", vec![h + 1, q]),
        ("1.q_proj.weight", vec![h, q + 8]),
        ("0.k_proj.weight", vec![h, k - 1]),
        ("0.v_proj.weight", vec![h, k + 8]),
        ("0.v_proj.weight", vec![h + 1, k]),
        ("1.o_proj.weight", vec![q + 1, h]),
        ("1.o_proj.weight", vec![q, h + 1]),
        ("0.q_norm.weight", vec![4]),
        ("1.k_norm.weight", vec![c.head_dim + 1]),
        ("1.gate_proj.weight", vec![h, c.intermediate_size + 1]),
        ("0.up_proj.weight", vec![h, c.intermediate_size - 1]),
        ("0.down_proj.weight", vec![c.intermediate_size + 1, h]),
        ("cos", vec![c.max_position_embeddings, c.head_dim]),
        ("sin", vec![c.max_position_embeddings - 1, c.head_dim / 2]),
    ] {
        let text = broken(|m| {
            *initializer(m, name) = floats(name, &dims, &vec![1.0; dims.iter().product()]);
        });
        assert_names(&text, &["tensor", &format!("{dims:?}")]);
        assert!(text.contains(name) || name == "sin", "{text}");
    }
}

#[test]
fn sizes_that_make_no_decoder() {
    let odd = DecoderConfig {
        head_dim: 7,
        ..small()
    };
    open(&decoder(&odd))
        .map(|m| recognise(&m, None).unwrap_err())
        .unwrap();
    for config in [
        DecoderConfig {
            vocab_size: 0,
            ..small()
        },
        DecoderConfig {
            intermediate_size: 0,
            ..small()
        },
        DecoderConfig {
            max_position_embeddings: 0,
            ..small()
        },
        DecoderConfig {
            rms_norm_eps: 0.0,
            ..small()
        },
        DecoderConfig {
            rms_norm_eps: f32::NAN,
            ..small()
        },
        DecoderConfig {
            rms_norm_eps: -1e-6,
            ..small()
        },
        DecoderConfig {
            rms_norm_eps: f32::INFINITY,
            ..small()
        },
    ] {
        let model = open(&decoder(&config)).unwrap();
        let error = recognise(&model, None).unwrap_err();
        assert!(!error.is_not_recognised(), "{config:?}: {error}");
    }
}

#[test]
fn weights_of_another_type() {
    for (name, code) in [
        ("0.gate_proj.weight", 6),
        ("embed_tokens", 6),
        ("0.k_norm.weight", 6),
        ("cos", 6),
    ] {
        let mut model = decoder(&small());
        initializer(&mut model, name).data_type = Some(code);
        let error = recognise(&open(&model).unwrap(), None).unwrap_err();
        assert!(error.is_not_recognised(), "{error}");
        assert_names(&error.to_string(), &[name, "i32, not a float"]);
    }
    for (code, why) in [
        (0, "no element type"),
        (8, "String is not supported"),
        (11, "Double is not supported"),
        (99, "unknown element type 99"),
        (-1, "unknown element type -1"),
    ] {
        let text = broken(|m| initializer(m, "norm.weight").data_type = Some(code));
        assert_names(&text, &["norm.weight", why]);
    }
}

#[test]
fn rotary_tables_of_nan() {
    let mut model = decoder(&small());
    let nan = floats("sin", &[12, 4], &[f32::NAN; 48]);
    *initializer(&mut model, "sin") = nan;
    let error = recognise(&open(&model).unwrap(), None).unwrap_err();
    assert!(error.is_not_recognised(), "{error}");
}

#[test]
fn a_config_that_says_otherwise() {
    let model = open(&decoder(&small())).unwrap();
    recognise(&model, Some(&small())).unwrap();
    let c = small();
    for (want, config) in [
        (
            "hidden_size 1024, the graph has 6",
            DecoderConfig {
                hidden_size: 1024,
                ..c.clone()
            },
        ),
        (
            "num_hidden_layers 28, the graph has 2",
            DecoderConfig {
                num_hidden_layers: 28,
                ..c.clone()
            },
        ),
        (
            "num_attention_heads 8, the graph has 4",
            DecoderConfig {
                num_attention_heads: 8,
                ..c.clone()
            },
        ),
        (
            "num_key_value_heads 4, the graph has 2",
            DecoderConfig {
                num_key_value_heads: 4,
                ..c.clone()
            },
        ),
        (
            "head_dim 128, the graph has 8",
            DecoderConfig {
                head_dim: 128,
                ..c.clone()
            },
        ),
        (
            "intermediate_size 11, the graph has 10",
            DecoderConfig {
                intermediate_size: 11,
                ..c.clone()
            },
        ),
        (
            "vocab_size 12, the graph has 11",
            DecoderConfig {
                vocab_size: 12,
                ..c.clone()
            },
        ),
        (
            "rms_norm_eps 1e-6, the graph has 1e-5",
            DecoderConfig {
                rms_norm_eps: 1e-6,
                ..c.clone()
            },
        ),
        (
            "rope_theta 1000000, the graph has 10000",
            DecoderConfig {
                rope_theta: 1e6,
                ..c.clone()
            },
        ),
        (
            "max_position_embeddings 13, the graph has 12",
            DecoderConfig {
                max_position_embeddings: 13,
                ..c.clone()
            },
        ),
    ] {
        let error = recognise(&model, Some(&config)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Disagreement(_)));
        assert_eq!(error.to_string(), format!("config.json says {want}"));
    }
    // A shorter limit than the tables is a choice.
    let config = DecoderConfig {
        max_position_embeddings: 5,
        ..c
    };
    assert_eq!(
        recognise(&model, Some(&config)).unwrap().decoder_config(),
        config
    );
}

#[test]
fn names_in_errors_are_short_and_harmless() {
    let name = format!("\u{1b}[2J{}", "x".repeat(100_000));
    let text = broken(|m| node(m, "0.k_proj").input[1] = name);
    assert!(
        text.len() < 1000 && !text.contains('\u{1b}'),
        "{} bytes",
        text.len()
    );
}

#[test]
fn one_large_constant_used_everywhere_is_read_once() {
    // Stored as numbers, not bytes, so that reading it makes a copy.
    let mut model = decoder(&small());
    let large = TensorProto {
        name: Some("large".into()),
        dims: vec![2_000_000],
        data_type: Some(7),
        int64_data: vec![1; 2_000_000],
        ..Default::default()
    };
    graph(&mut model).initializer.push(large);
    for i in 0..2 {
        for kind in ["q.split", "k.split"] {
            node(&mut model, &format!("{i}.{kind}")).input[1] = "large".into();
        }
    }
    recognise(&open(&model).unwrap(), None).unwrap_err();
}

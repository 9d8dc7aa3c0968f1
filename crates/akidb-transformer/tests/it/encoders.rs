//! Encoders of BERT's family: from named tensors, and from graphs.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::fixture;
use akidb_testing::graphs::quantize::bytes as of_bytes;
use akidb_testing::graphs::{encode, floats, int};
use akidb_transformer::{
    Activation, Block, Mask, ModelConfig, Norm, NormKind, Transformer, from_onnx, from_safetensors,
};
use prost::Message;
use serde_json::{Value, json};

fn config() -> ModelConfig {
    ModelConfig::open(&fixture("tiny-bert/config.json")).unwrap()
}

fn graph(name: &str) -> ModelProto {
    let bytes = std::fs::read(fixture("tiny-bert/onnx").join(name)).unwrap();
    ModelProto::decode(&bytes[..]).unwrap()
}

fn traced(model: &ModelProto) -> Result<Transformer, Error> {
    from_onnx(&OnnxModel::from_bytes(encode(model))?, Some(&config()))
}

/// The values of a layer and of a norm.
fn values(block: &Block) -> Vec<Vec<f32>> {
    let (attention, mlp) = (&block.attention, &block.mlp);
    let linears = [
        &attention.query,
        &attention.key,
        &attention.value,
        &attention.output,
        &mlp.up,
        &mlp.down,
    ];
    let mut all = Vec::new();
    for linear in linears {
        let mut weights = vec![0.0; linear.in_features() * linear.out_features()];
        linear.dequantize(0, &mut weights).unwrap();
        all.push(weights);
        all.push(linear.bias().unwrap().to_f32_vec().unwrap());
    }
    for norms in [&block.attention_norms, &block.mlp_norms] {
        assert!(norms.before.is_none() && norms.after.is_none());
        all.extend(of_norm(norms.of_sum.as_ref().unwrap()));
    }
    all
}

fn of_norm(norm: &Norm) -> [Vec<f32>; 2] {
    assert_eq!((norm.kind, norm.epsilon), (NormKind::Layer, 1e-4));
    let bias = norm.bias.as_ref().unwrap();
    [
        norm.weight.to_f32_vec().unwrap(),
        bias.to_f32_vec().unwrap(),
    ]
}

#[test]
fn all_forms_are_one_model() {
    let tensors = from_safetensors(&fixture("tiny-bert"), &config()).unwrap();
    for name in ["model.onnx", "model_o2.onnx"] {
        let found = traced(&graph(name)).unwrap();
        assert_eq!((found.max_tokens, tensors.max_tokens), (16, 16));
        assert_eq!((found.blocks.len(), tensors.blocks.len()), (2, 2));
        for (found, tensors) in found.blocks.iter().zip(&tensors.blocks) {
            assert_eq!(values(found), values(tensors), "{name}");
            for block in [found, tensors] {
                let attention = &block.attention;
                assert_eq!((attention.heads, attention.head_dim), (3, 12));
                assert_eq!((attention.mask, attention.rotary), (Mask::Full, None));
                assert!((attention.scale - 1.0 / 12_f32.sqrt()).abs() < 1e-7);
                assert_eq!(block.mlp.activation, Activation::GeluErf);
                assert!(block.mlp.gate.is_none());
            }
        }
        let (found, tensors) = (&found.embeddings, &tensors.embeddings);
        assert_eq!(found.words.tensor().data(), tensors.words.tensor().data());
        let positions = [found, tensors].map(|e| e.positions.as_ref().unwrap());
        for positions in positions {
            assert_eq!((positions.first_row, positions.padding), (0, None));
            let data = positions.table.tensor().data();
            assert_eq!(data, positions_data(tensors));
        }
        let mut rows = [found, tensors].map(|embeddings| {
            let mut row = vec![0.0; 36];
            let types = embeddings.token_types.as_ref().unwrap();
            types.read_row(0, &mut row).unwrap();
            row
        });
        assert_eq!(rows[0], rows[1]);
        rows[0].clear();
        let norms = [found, tensors].map(|e| of_norm(e.norm.as_ref().unwrap()));
        assert_eq!(norms[0], norms[1]);
    }
}

fn positions_data(embeddings: &akidb_transformer::Embeddings) -> &[u8] {
    embeddings.positions.as_ref().unwrap().table.tensor().data()
}

/// The first node of an operator.
fn node<'m>(model: &'m mut ModelProto, op: &str) -> &'m mut NodeProto {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.op_type() == op).unwrap()
}

/// A graph that computes something else isn't taken for what it was.
#[test]
fn what_is_changed_is_refused_by_its_node() {
    type Change = fn(&mut ModelProto);
    let changes: [(&str, Change); 7] = [
        ("model.onnx", |m| {
            node(m, "Erf").op_type = Some("Sin".into())
        }),
        ("model.onnx", |m| {
            node(m, "Softmax").attribute[0].i = Some(1)
        }),
        ("model.onnx", |m| node(m, "MatMul").input.swap(0, 1)),
        ("model.onnx", |m| {
            node(m, "Sqrt").op_type = Some("Exp".into())
        }),
        ("model_o2.onnx", |m| {
            node(m, "BiasGelu").op_type = Some("QuickGelu".into());
        }),
        ("model_o2.onnx", |m| {
            let attention = node(m, "Attention");
            let heads = attention
                .attribute
                .iter_mut()
                .find(|a| a.name() == "num_heads");
            heads.unwrap().i = Some(5);
        }),
        ("model_o2.onnx", |m| {
            let attention = node(m, "Attention");
            let mut causal = attention.attribute[0].clone();
            (causal.name, causal.i) = (Some("unidirectional".into()), Some(1));
            attention.attribute.push(causal);
        }),
    ];
    for (i, (file, change)) in changes.into_iter().enumerate() {
        let mut model = graph(file);
        change(&mut model);
        let error = traced(&model).unwrap_err();
        assert!(error.is_not_recognised(), "{i} {file}: {error}");
    }
}

#[test]
fn a_config_of_another_model_is_named_with_both_values() {
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(fixture("tiny-bert/config.json")).unwrap()).unwrap();
    json["num_attention_heads"] = json!(4);
    let config = ModelConfig::from_json(json.to_string().as_bytes()).unwrap();
    let model = OnnxModel::from_bytes(encode(&graph("model.onnx"))).unwrap();
    let error = from_onnx(&model, Some(&config)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Disagreement(d) if d.key == "num_attention_heads"));
    json["num_attention_heads"] = json!(3);
    json["vocab_size"] = json!(138);
    let config = ModelConfig::from_json(json.to_string().as_bytes()).unwrap();
    let error = from_safetensors(&fixture("tiny-bert"), &config).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("word_embeddings") || format!("{error:?}").contains("word_embeddings"));
    json["vocab_size"] = json!(137);
    json["num_hidden_layers"] = json!(1);
    let config = ModelConfig::from_json(json.to_string().as_bytes()).unwrap();
    from_safetensors(&fixture("tiny-bert"), &config).unwrap_err();
}

#[test]
fn configs() {
    let base = json!({
        "model_type": "xlm-roberta", "hidden_size": 40, "num_hidden_layers": 3,
        "num_attention_heads": 5, "intermediate_size": 88, "vocab_size": 480,
        "max_position_embeddings": 130, "layer_norm_eps": 1e-5, "pad_token_id": 1,
        "hidden_act": "gelu", "architectures": ["XLMRobertaModel"]
    });
    let read = |changes: &[(&str, Value)]| {
        let mut json = base.clone();
        for (key, value) in changes {
            json[*key] = value.clone();
        }
        ModelConfig::from_json(json.to_string().as_bytes())
    };
    let max_tokens = |config| match config {
        ModelConfig::Encoder(config) => config.max_tokens(),
        ModelConfig::Decoder(_) | ModelConfig::Rotary(_) => 0,
    };
    assert_eq!(max_tokens(read(&[]).unwrap()), 128);
    let marked = format!("\u{feff}{base}");
    assert_eq!(
        ModelConfig::from_json(marked.as_bytes()).unwrap(),
        read(&[]).unwrap()
    );
    let bert = read(&[("model_type", json!("bert"))]).unwrap();
    assert_eq!(max_tokens(bert), 130);
    for (key, value) in [
        ("hidden_act", json!("relu")),
        ("position_embedding_type", json!("relative_key")),
        ("is_decoder", json!(true)),
        ("model_type", json!("t5")),
        ("vocab_size", Value::Null),
        ("num_hidden_layers", Value::Null),
    ] {
        let error = read(&[(key, value)]).unwrap_err();
        let unsupported =
            matches!(error.kind(), ErrorKind::Unsupported { key: k, .. } if *k == key);
        assert!(unsupported, "{key}: {error}");
    }
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(41)),
        ("num_hidden_layers", json!(1 << 20)),
        ("num_attention_heads", json!(0)),
        ("layer_norm_eps", json!(0.0)),
        ("layer_norm_eps", json!(1e300)),
        ("max_position_embeddings", json!(2)),
        ("pad_token_id", json!(4_000_000_000_u32)),
    ] {
        let error = read(&[(key, value.clone())]).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Config { .. }),
            "{key} {value}: {error}"
        );
    }
    let distilbert = json!({
        "model_type": "distilbert", "dim": 40, "n_layers": 2, "n_heads": 5, "hidden_dim": 96,
        "vocab_size": 420, "max_position_embeddings": 128, "activation": "gelu"
    });
    let config = ModelConfig::from_json(distilbert.to_string().as_bytes()).unwrap();
    assert_eq!(max_tokens(config), 128);
}

/// All products with weights as `MatMulNBits` of 8 bits, and what the weights are then, `[outputs, inputs]`.
fn to_8_bits(model: &mut ModelProto, block_size: usize, zero_points: bool) -> Vec<Vec<f32>> {
    model.opset_import.push(OperatorSetIdProto {
        domain: Some("com.microsoft".into()),
        version: Some(1),
    });
    let graph = model.graph.as_mut().unwrap();
    let mut all = Vec::new();
    let mut added = Vec::new();
    for node in &mut graph.node {
        let is_weight = |t: &&TensorProto| node.input.get(1).is_some_and(|name| t.name() == name);
        let weight = graph.initializer.iter().find(is_weight);
        let (Some(weight), "MatMul") = (weight, node.op_type()) else {
            continue;
        };
        let [k, n] = [weight.dims[0] as usize, weight.dims[1] as usize];
        let blocks = k.div_ceil(block_size);
        let name = |part: &str| format!("{}.{part}", weight.name());
        let bytes = |len: usize, step: usize| -> Vec<u8> {
            (0..len).map(|i| (i * step % 256) as u8).collect()
        };
        let codes = bytes(n * blocks * block_size, 41);
        let zeros = bytes(n * blocks, 29);
        let scales: Vec<f32> = (1..=n * blocks).map(|i| i as f32 / 4096.0 - 0.25).collect();
        all.push(
            (0..n * k)
                .map(|i| {
                    let (output, input) = (i / k, i % k);
                    let block = output * blocks + input / block_size;
                    let code = codes[output * blocks * block_size + input];
                    let zero = if zero_points { zeros[block] } else { 128 };
                    (f32::from(code) - f32::from(zero)) * scales[block]
                })
                .collect(),
        );
        let mut tensors = vec![
            of_bytes(
                &name("codes"),
                DataType::Uint8,
                &[n, blocks, block_size],
                codes,
            ),
            floats(&name("scales"), &[n, blocks], &scales),
        ];
        if zero_points {
            tensors.push(of_bytes(
                &name("zeros"),
                DataType::Uint8,
                &[n, blocks],
                zeros,
            ));
        }
        node.op_type = Some("MatMulNBits".into());
        node.domain = Some("com.microsoft".into());
        node.input.truncate(1);
        node.input
            .extend(tensors.iter().map(|t| t.name().to_owned()));
        let sizes = [("K", k), ("N", n), ("bits", 8), ("block_size", block_size)];
        node.attribute = sizes.map(|(name, size)| int(name, size as i64)).into();
        added.extend(tensors);
    }
    graph.initializer.extend(added);
    all
}

#[test]
fn products_of_8_bit_codes_in_blocks() {
    for block_size in [16, 32, 64, 128, 256] {
        for zero_points in [true, false] {
            let mut model = graph("model.onnx");
            let weights = to_8_bits(&mut model, block_size, zero_points);
            assert_eq!(weights.len(), 2 * 6);
            let found = traced(&model).unwrap();
            for linear in found.linears() {
                let mut values = vec![0.0; linear.in_features() * linear.out_features()];
                linear.dequantize(0, &mut values).unwrap();
                assert!(weights.contains(&values), "{block_size} {zero_points}");
            }
        }
    }
    for bits in [1, 2, 3, 5, 16] {
        let mut model = graph("model.onnx");
        to_8_bits(&mut model, 32, true);
        let attributes = &mut node(&mut model, "MatMulNBits").attribute;
        attributes.retain(|attribute| attribute.name() != "bits");
        attributes.push(int("bits", bits));
        let error = traced(&model).unwrap_err();
        assert!(error.is_not_recognised(), "{error}");
        assert!(error.to_string().contains("not 4 or 8"), "{error}");
    }
}

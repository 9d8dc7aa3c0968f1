//! Graphs of rotary families, changed: what they then compute is read off them, or they are refused.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{AttributeProto, ModelProto, NodeProto};
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::fixture;
use akidb_testing::graphs::{encode, float, int};
use akidb_transformer::{Mask, ModelConfig, Transformer, from_onnx};
use prost::Message;

fn graph(family: &str) -> ModelProto {
    let path = fixture(format!("tiny-families/{family}/onnx/model.onnx"));
    ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap()
}

fn traced(family: &str, model: &ModelProto) -> Result<Transformer, Error> {
    let config = fixture(format!("tiny-families/{family}/config.json"));
    let config = ModelConfig::open(&config).unwrap();
    from_onnx(&OnnxModel::from_bytes(encode(model))?, Some(&config))
}

/// The first node of an operator.
fn first<'m>(model: &'m mut ModelProto, op: &str) -> &'m mut NodeProto {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.op_type() == op).unwrap()
}

fn set(node: &mut NodeProto, attribute: AttributeProto) {
    node.attribute
        .retain(|other| other.name() != attribute.name());
    node.attribute.push(attribute);
}

#[test]
fn the_file_is_right_where_it_says_something_else() {
    let mut modernbert = graph("modernbert");
    for node in &mut modernbert.graph.as_mut().unwrap().node {
        if node.op_type() == "LessOrEqual" {
            node.op_type = Some("Less".into());
        }
    }
    let model = traced("modernbert", &modernbert).unwrap();
    let near = Mask::Window {
        before: 7,
        after: 7,
    };
    assert_eq!(model.blocks[1].attention.mask, near);
    assert_eq!(model.blocks[0].attention.mask, Mask::Full);

    let mut qwen3 = graph("qwen3-bidirectional");
    for node in &mut qwen3.graph.as_mut().unwrap().node {
        if node.op_type() == "Attention" {
            set(node, int("is_causal", 1));
            set(node, float("scale", 0.5));
        }
    }
    let model = traced("qwen3-bidirectional", &qwen3).unwrap();
    let attention = &model.blocks[0].attention;
    assert_eq!((attention.mask, attention.scale), (Mask::Causal, 0.5));
}

#[test]
fn what_is_no_known_part_is_refused() {
    type Change = fn(&mut ModelProto);
    let cases: [(&str, Change); 10] = [
        // The halves of heads the wrong way round.
        ("nomic", |m| {
            let nodes = &mut m.graph.as_mut().unwrap().node;
            let negated = nodes.iter().find(|node| node.op_type() == "Neg").unwrap();
            let negated = negated.output[0].clone();
            let concat = nodes
                .iter_mut()
                .find(|node| node.input.first() == Some(&negated));
            concat.unwrap().input.reverse();
        }),
        ("nomic", |m| first(m, "Neg").op_type = Some("Abs".into())),
        ("nomic", |m| {
            first(m, "Neg").op_type = Some("Identity".into())
        }),
        ("nomic", |m| first(m, "Cos").op_type = Some("Sin".into())),
        ("nomic", |m| set(first(m, "Softmax"), int("axis", 1))),
        ("gemma", |m| {
            first(m, "Tanh").op_type = Some("Sigmoid".into())
        }),
        ("gemma", |m| first(m, "Sqrt").op_type = Some("Exp".into())),
        ("qwen3-bidirectional", |m| {
            set(first(m, "RotaryEmbedding"), int("interleaved", 1));
        }),
        ("qwen3-bidirectional", |m| {
            set(first(m, "Attention"), float("softcap", 50.0));
        }),
        ("qwen3-bidirectional", |m| {
            set(first(m, "RMSNormalization"), int("axis", 0));
        }),
    ];
    for (i, (family, change)) in cases.into_iter().enumerate() {
        let mut model = graph(family);
        change(&mut model);
        let error = traced(family, &model).unwrap_err();
        assert!(error.is_not_recognised(), "{i} {family}: {error}");
    }
}

#[test]
fn heads_turned_at_another_base_contradict_config_json() {
    let mut nomic = graph("nomic");
    let mut changed = 0;
    for node in &mut nomic.graph.as_mut().unwrap().node {
        let value = node.attribute.iter_mut().find(|a| a.name() == "value");
        let Some(tensor) = value.and_then(|a| a.t.as_mut()) else {
            continue;
        };
        if tensor.dims == [6] {
            // Base 100 instead of 1000.
            let frequencies = (0..6).map(|i| 100_f32.powf(-(i as f32) / 6.0));
            tensor.raw_data = Some(frequencies.flat_map(f32::to_le_bytes).collect());
            changed += 1;
        }
    }
    assert!(changed > 0);
    let error = traced("nomic", &nomic).unwrap_err().to_string();
    assert!(
        error.contains("rope_theta 1000, the graph has 100"),
        "{error}"
    );
    let alone = from_onnx(&OnnxModel::from_bytes(encode(&nomic)).unwrap(), None).unwrap();
    assert_eq!(alone.blocks[0].attention.rotary.unwrap().base, 100.0);
}

/// The graph with nodes behind what its output was, from `step.0` to the output.
fn with_nodes_behind(add: impl Fn(&str) -> Vec<NodeProto>) -> ModelProto {
    let mut nomic = graph("nomic");
    let nodes = &mut nomic.graph.as_mut().unwrap().node;
    let last = nodes.len() - 1;
    let output = std::mem::replace(&mut nodes[last].output[0], "step.0".into());
    nodes.extend(add(&output));
    nomic
}

fn operator(op: &str, input: &[String], output: String) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: input.to_vec(),
        output: vec![output],
        ..NodeProto::default()
    }
}

/// Nodes of which each takes what earlier ones give, by their numbers.
fn chain(op: &str, count: usize, output: &str, of: fn(usize) -> Vec<usize>) -> Vec<NodeProto> {
    let name = |i: usize| match i == count {
        true => output.to_owned(),
        false => format!("step.{i}"),
    };
    let node = |i| {
        operator(
            op,
            &of(i).into_iter().map(name).collect::<Vec<_>>(),
            name(i + 1),
        )
    };
    (0..count).map(node).collect()
}

/// However many nodes there are, each is looked at a few times.
#[test]
fn a_graph_of_a_hundred_thousand_nodes_comes_to_an_end() {
    let behind = |add: fn(&str) -> Vec<NodeProto>| traced("nomic", &with_nodes_behind(add));
    let long = behind(|output| chain("Identity", 100_000, output, |i| vec![i]));
    assert_eq!(long.unwrap().blocks.len(), 2);
    // What is shared has more paths than anybody can walk, here 2 to the 40 000th.
    let shared = behind(|output| chain("Add", 40_000, output, |i| vec![i, i]));
    assert!(shared.unwrap_err().is_not_recognised());
    let crossed = behind(|output| chain("Mul", 40_000, output, |i| vec![i, i.saturating_sub(1)]));
    assert!(crossed.unwrap_err().is_not_recognised());
    let wide = behind(|output| {
        let name = |i| format!("part.{i}");
        let mut nodes: Vec<_> = (0..60_000)
            .map(|i| operator("Neg", &["step.0".into()], name(i)))
            .collect();
        let all: Vec<_> = (0..60_000).map(name).collect();
        nodes.push(operator("Concat", &all, output.to_owned()));
        nodes
    });
    assert!(wide.is_err());
    // Nobody needs them.
    let beside = behind(|output| {
        let mut nodes = chain("Identity", 1, output, |_| vec![0]);
        nodes.extend((0..80_000).map(|i| operator("Neg", &["step.0".into()], format!("s.{i}"))));
        nodes
    });
    assert_eq!(beside.unwrap().blocks.len(), 2);
}

/// More than memory is planned for is refused before it is decoded.
#[test]
fn a_graph_of_a_million_nodes_is_refused() {
    let add = |output: &str| chain("Identity", 1_000_000, output, |i| vec![i]);
    let error = traced("nomic", &with_nodes_behind(add)).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { .. }),
        "{error}"
    );
}

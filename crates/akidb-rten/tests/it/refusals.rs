//! What can't be run is refused with an error that says why.

use std::fs;

use akidb_backend::{Backend, BackendError, BackendErrorKind, Pooling, TokenBatch};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{GraphProto, ModelProto};
use akidb_rten::{GraphOptions, OutputChoice, RtenModel, RtenOptions};
use prost::Message;

use crate::builder::{
    chain, floats, load, load_mean, model, node, tensor, token_input, value, with_graph, with_int,
    with_ints,
};
use crate::encoder::{WIDTH, graph, hidden_states};

fn refused(graph: GraphProto) -> BackendError {
    load_mean(graph).err().unwrap()
}

fn assert_unsupported(error: &BackendError, parts: &[&str]) {
    assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn an_unknown_input_that_is_needed_is_named_with_its_type() {
    let mut graph = graph();
    graph.input.push(value(
        "pixel_values",
        DataType::Float16,
        &["batch", "tokens", "3"],
    ));
    load_mean(graph.clone()).unwrap();
    graph
        .node
        .push(node("Add", &["last_hidden_state", "pixel_values"], "both"));
    graph.output = vec![hidden_states("both")];
    assert_unsupported(&refused(graph), &["\"pixel_values\": float16", "\"both\""]);
}

#[test]
fn a_known_name_of_another_type_is_unknown() {
    let mut by_double = graph();
    by_double.input[1] = value("attention_mask", DataType::Double, &["batch", "tokens"]);
    assert_unsupported(&refused(by_double), &["\"attention_mask\": double"]);
    let mut no_ids = graph();
    no_ids.input[0] = value("input_ids", DataType::Int64, &["batch", "1", "tokens"]);
    assert_unsupported(&refused(no_ids), &["input_ids"]);
}

#[test]
fn a_cache_of_unknown_size_is_named() {
    let mut graph = graph();
    let past = value(
        "past_key_values.0.key",
        DataType::Float,
        &["batch", "2", "past", "width"],
    );
    graph.input.push(past);
    let sum = node("ReduceSum", &["past_key_values.0.key"], "past_sum");
    graph.node.push(with_int(sum, "keepdims", 0));
    graph
        .node
        .push(node("Add", &["last_hidden_state", "past_sum"], "both"));
    graph.output = vec![hidden_states("both")];
    assert_unsupported(&refused(graph), &["\"past_key_values.0.key\": float"]);
}

#[test]
fn outputs_that_are_no_embedding_are_refused() {
    let mut of_rank_4 = graph();
    of_rank_4.node.push(node(
        "Unsqueeze",
        &["last_hidden_state", "second"],
        "states",
    ));
    of_rank_4.output = vec![value("states", DataType::Float, &["b", "1", "t", "3"])];
    assert_unsupported(&refused(of_rank_4.clone()), &["none of", "\"states\""]);

    let named = |output: &str| RtenOptions {
        graph: GraphOptions {
            output: OutputChoice::Named(output.into()),
            ..GraphOptions::new(Pooling::Mean)
        },
        ..RtenOptions::new(Pooling::Mean)
    };
    let error = load(of_rank_4, named("states")).err().unwrap();
    assert_unsupported(&error, &["\"states\" has shape [1, 1, 1, 3]"]);

    let error = load(graph(), named("logits")).err().unwrap();
    assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("\"last_hidden_state\""),
        "{error}"
    );

    let mut of_ids = graph();
    of_ids.node.push(with_int(
        node("Cast", &["last_hidden_state"], "states"),
        "to",
        7,
    ));
    of_ids.output = vec![value("states", DataType::Int64, &["b", "t", "3"])];
    let error = load(of_ids, named("states")).err().unwrap();
    assert_unsupported(&error, &["\"states\" is a tensor neither of f32"]);

    let mut flat = graph();
    flat.initializer
        .push(crate::builder::ints("rows", &[2], &[-1, WIDTH as i64]));
    flat.node.push(node(
        "Reshape",
        &["last_hidden_state", "rows"],
        "sentence_embedding",
    ));
    flat.output = vec![value("sentence_embedding", DataType::Float, &["rows", "3"])];
    assert_unsupported(
        &refused(flat),
        &["has shape [3, 3] for 1 texts of at most 3 tokens"],
    );

    let mut as_wide_as_long = graph();
    as_wide_as_long.output = vec![value("mask", DataType::Float, &["batch", "tokens"])];
    let error = load(as_wide_as_long, named("mask")).err().unwrap();
    assert_unsupported(&error, &["depends on the text: 1 and 3"]);
}

#[test]
fn an_operator_that_rten_lacks_is_named() {
    let mut graph = graph();
    let mut unknown = node("MatMulBnb4", &["last_hidden_state"], "out");
    unknown.domain = Some("com.microsoft".into());
    graph.node.push(unknown);
    graph.output = vec![hidden_states("out")];
    assert_unsupported(
        &refused(graph),
        &["com.microsoft/MatMulBnb4", "out/MatMulBnb4"],
    );
}

#[test]
fn tensors_that_are_broken_and_tensors_of_a_type_that_rten_lacks_are_told_apart() {
    let mut short = graph();
    short.initializer[0] = tensor("words", DataType::Float, &[11, 3], vec![0; 131]);
    let error = refused(short);
    assert_eq!(error.kind(), BackendErrorKind::InvalidModel);
    assert!(
        chain(&error).contains("needs 132 bytes"),
        "{}",
        chain(&error)
    );

    let mut bf16 = graph();
    bf16.initializer[0] = tensor("words", DataType::Bfloat16, &[11, 3], vec![0; 66]);
    assert_unsupported(&refused(bf16), &["words"]);
}

#[test]
fn files_that_are_no_model_are_refused() {
    let options = || RtenOptions::new(Pooling::Mean);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = RtenModel::load(&path, options()).err().unwrap();
        assert_eq!(
            error.kind(),
            BackendErrorKind::InvalidModel,
            "{}",
            chain(&error)
        );
    };
    load(b"");
    load(b"RTEN, not ONNX");
    let whole = model(graph()).encode_to_vec();
    load(&whole[..whole.len() - 1]);
    load(&ModelProto::default().encode_to_vec());
    let error = RtenModel::load(&dir.path().join("none.onnx"), options())
        .err()
        .unwrap();
    assert_eq!(error.kind(), BackendErrorKind::InvalidModel);
    assert!(RtenModel::from_static(b"nonsense", options()).is_err());
}

#[test]
fn a_graph_as_deep_as_allowed_is_planned_and_a_deeper_one_is_refused() {
    let chain_of = |n: usize| {
        let mut graph = graph();
        let mut last = "last_hidden_state".to_owned();
        for i in graph.node.len()..n {
            let next = format!("v{i}");
            graph.node.push(node("Neg", &[&last], &next));
            last = next;
        }
        graph.output = vec![hidden_states(&last)];
        graph
    };
    load_mean(chain_of(65_536)).unwrap();
    assert_unsupported(&refused(chain_of(65_537)), &["65537 nodes"]);
}

#[test]
fn subgraphs_run_up_to_a_bound() {
    let with_branches = |n: usize| {
        let mut branch = GraphProto {
            name: Some("branch".into()),
            ..Default::default()
        };
        let mut last = "last_hidden_state".to_owned();
        for i in 0..n {
            let next = format!("b{i}");
            branch.node.push(node("Neg", &[&last], &next));
            last = next;
        }
        branch.output = vec![hidden_states(&last)];
        let mut graph = graph();
        graph
            .initializer
            .push(tensor("yes", DataType::Bool, &[], vec![1]));
        graph.node.push(node("Identity", &["input_ids"], "ids"));
        graph
            .node
            .push(node("Equal", &["ids", "input_ids"], "equal"));
        graph
            .node
            .push(with_int(node("Cast", &["equal"], "equal_int"), "to", 6));
        let mut smallest = node("ReduceMin", &["equal_int"], "all_equal_int");
        smallest = with_int(smallest, "keepdims", 0);
        graph.node.push(smallest);
        graph.node.push(with_int(
            node("Cast", &["all_equal_int"], "all_equal"),
            "to",
            9,
        ));
        let chosen = node("If", &["all_equal"], "chosen");
        let chosen = with_graph(chosen, "then_branch", branch.clone());
        graph.node.push(with_graph(chosen, "else_branch", branch));
        graph.output = vec![hidden_states("chosen")];
        graph
    };
    let model = load_mean(with_branches(512)).unwrap();
    let batch: TokenBatch = [[1, 2]].into_iter().collect();
    model.forward(&batch, &mut [0.0; WIDTH]).unwrap();
    assert_unsupported(&refused(with_branches(513)), &["1026 in subgraphs"]);
}

#[test]
fn a_cycle_is_refused() {
    let graph = GraphProto {
        input: vec![token_input("input_ids")],
        node: vec![node("Neg", &["b"], "a"), node("Neg", &["a"], "b")],
        output: vec![hidden_states("b")],
        ..Default::default()
    };
    assert_eq!(refused(graph).kind(), BackendErrorKind::InvalidModel);
}

#[test]
fn a_tensor_larger_than_memory_does_not_end_the_process() {
    let mut graph = graph();
    graph
        .initializer
        .push(crate::builder::ints("huge", &[2], &[1 << 31, 1 << 31]));
    graph.node.push(node("ConstantOfShape", &["huge"], "zeros"));
    graph.initializer.push(floats("scale", &[1], &[0.0]));
    graph
        .node
        .push(node("Add", &["last_hidden_state", "zeros"], "out"));
    graph.output = vec![hidden_states("out")];
    let error = refused(graph);
    assert!(!error.to_string().is_empty());
}

#[test]
fn shapes_that_contradict_each_other_are_refused_before_rten_sees_them() {
    let mut graph = graph();
    // RTen fuses the transposition into the product, checks the permutation of neither, and panics.
    let transposed = node("Transpose", &["last_hidden_state"], "transposed");
    graph.node.push(with_ints(transposed, "perm", &[0, 0, 2]));
    graph
        .node
        .push(node("MatMul", &["last_hidden_state", "transposed"], "out"));
    graph.output = vec![hidden_states("out")];
    assert_unsupported(&refused(graph), &["transposed/Transpose", "perm"]);
}

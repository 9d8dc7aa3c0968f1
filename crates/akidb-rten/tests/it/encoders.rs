//! Encoders: pooling, choice of output, batches.

use akidb_backend::{Backend, BackendErrorKind, Pooling, TokenBatch};
use akidb_onnx::proto::GraphProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_rten::{GraphOptions, OutputChoice, RtenModel, RtenOptions};

use crate::builder::{floats, ints, load, load_mean, node, value, with_int};
use crate::encoder::{WIDTH, graph, hidden_states, mean, states, texts};

/// Largest difference between the model's rows of [`texts`], all in one call, and `expected`.
fn worst(model: &RtenModel, expected: impl Fn(&[u32]) -> [f32; WIDTH]) -> f32 {
    let texts = texts();
    let batch: TokenBatch = texts.iter().collect();
    assert_eq!(model.info().hidden_size, WIDTH);
    let mut out = vec![f32::NAN; texts.len() * WIDTH];
    model.forward(&batch, &mut out).unwrap();
    let expected = texts.iter().flat_map(|ids| expected(ids));
    out.iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

const TOLERANCE: f32 = 1e-5;

fn assert_close(model: &RtenModel, expected: impl Fn(&[u32]) -> [f32; WIDTH]) {
    let worst = worst(model, expected);
    assert!(worst <= TOLERANCE, "off by {worst}");
}

#[test]
fn each_pooling_sees_the_text_without_its_padding() {
    let pooled = |pooling| load(graph(), RtenOptions::new(pooling)).unwrap();
    let model = pooled(Pooling::Mean);
    assert_eq!(model.info().device, "cpu");
    assert_eq!(model.info().vocab_size, Some(11));
    assert_close(&model, |ids| mean(&states(ids)));
    assert_close(&pooled(Pooling::Cls), |ids| states(ids)[0]);
    assert_close(&pooled(Pooling::LastToken), |ids| {
        states(ids)[ids.len() - 1]
    });
}

#[test]
fn a_pooled_output_is_taken_before_hidden_states() {
    let mut graph = graph();
    graph.initializer.push(ints("zero", &[], &[0]));
    let first = node(
        "Gather",
        &["last_hidden_state", "zero"],
        "sentence_embedding",
    );
    graph.node.push(with_int(first, "axis", 1));
    let pooled = value("sentence_embedding", DataType::Float, &["batch", "3"]);
    graph.output.push(pooled);
    assert_close(&load_mean(graph.clone()).unwrap(), |ids| states(ids)[0]);

    let options = RtenOptions {
        graph: GraphOptions {
            output: OutputChoice::Named("last_hidden_state".into()),
            ..GraphOptions::new(Pooling::Mean)
        },
        ..RtenOptions::new(Pooling::Mean)
    };
    assert_close(&load(graph, options).unwrap(), |ids| mean(&states(ids)));
}

#[test]
fn only_the_chosen_output_is_computed() {
    let mut graph = graph();
    // Would fail: 3 columns of floats can't be indices.
    graph
        .node
        .push(node("Gather", &["words", "last_hidden_state"], "logits"));
    graph.output.insert(
        0,
        value("logits", DataType::Float, &["batch", "tokens", "9"]),
    );
    assert_close(&load_mean(graph).unwrap(), |ids| mean(&states(ids)));
}

#[test]
fn without_a_known_name_the_first_f32_output_of_rank_3_is_taken() {
    let mut graph = graph();
    graph
        .node
        .push(node("Identity", &["last_hidden_state"], "encoder_out"));
    graph
        .node
        .push(node("Neg", &["last_hidden_state"], "other"));
    graph.output = vec![
        value("mask", DataType::Float, &["batch", "tokens"]),
        hidden_states("present.0"),
        hidden_states("encoder_out"),
        hidden_states("other"),
    ];
    graph
        .node
        .push(node("Neg", &["last_hidden_state"], "present.0"));
    assert_close(&load_mean(graph).unwrap(), |ids| mean(&states(ids)));
}

#[test]
fn a_graph_for_one_text_runs_one_at_a_time() {
    let mut graph = graph();
    for input in &mut graph.input {
        *input = value(input.name(), DataType::Int64, &["1", "tokens"]);
    }
    let model = load_mean(graph).unwrap();
    assert!(
        model.info().device.contains("takes no batches"),
        "{}",
        model.info().device
    );
    assert_close(&model, |ids| mean(&states(ids)));
}

#[test]
fn texts_that_a_graph_would_mix_run_one_at_a_time() {
    // Two texts of n tokens come back as two texts of n, but were one of 2n on the way.
    let mut mixing = graph();
    mixing.initializer.push(ints("one_row", &[2], &[1, -1]));
    mixing
        .initializer
        .push(ints("width", &[1], &[WIDTH as i64]));
    for input in [
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "position_ids",
    ] {
        let flat = format!("flat_{input}");
        mixing
            .node
            .iter_mut()
            .flat_map(|n| &mut n.input)
            .for_each(|name| {
                if name == input {
                    name.clone_from(&flat);
                }
            });
        mixing
            .node
            .insert(0, node("Reshape", &[input, "one_row"], &flat));
    }
    mixing.node.last_mut().unwrap().output = vec!["mixed".into()];
    mixing.node.push(node("Shape", &["input_ids"], "shape"));
    mixing.node.push(with_int(
        node("Concat", &["shape", "width"], "full_shape"),
        "axis",
        0,
    ));
    mixing.node.push(node(
        "Reshape",
        &["mixed", "full_shape"],
        "last_hidden_state",
    ));

    let mut ignoring_the_mask = graph();
    ignoring_the_mask.node.retain(|n| n.output[0] != "mask");
    ignoring_the_mask
        .node
        .insert(0, with_int(node("Cast", &["ones"], "mask"), "to", 1));
    ignoring_the_mask
        .node
        .insert(0, node("Equal", &["input_ids", "input_ids"], "ones"));

    for graph in [mixing, ignoring_the_mask] {
        let model = load_mean(graph).unwrap();
        let device = &model.info().device;
        assert!(
            device.contains("batches change a text's vector"),
            "{device}"
        );
        assert_close(&model, |ids| mean(&states(ids)));
    }
}

#[test]
fn one_activation_scale_for_a_batch_means_one_text_at_a_time() {
    let mut graph = graph();
    let mut quantize = node("DynamicQuantizeLinear", &["last_hidden_state"], "quantized");
    quantize
        .output
        .extend(["scale".into(), "zero_point".into()]);
    let restore = node(
        "DequantizeLinear",
        &["quantized", "scale", "zero_point"],
        "out",
    );
    graph.node.extend([quantize, restore]);
    graph.output = vec![hidden_states("out")];
    let model = load_mean(graph).unwrap();
    assert!(
        model.info().device.contains("one text at a time"),
        "{}",
        model.info().device
    );
    let step = 30.0 / 255.0;
    assert!(worst(&model, |ids| mean(&states(ids))) < step);

    let row = |batch: &TokenBatch| {
        let mut out = vec![0.0; batch.len() * WIDTH];
        model.forward(batch, &mut out).unwrap();
        out[..WIDTH].to_vec()
    };
    let alone: TokenBatch = [[1, 2, 3]].into_iter().collect();
    let beside: TokenBatch = [[1, 2, 3], [6, 10, 9]].into_iter().collect();
    assert_eq!(row(&alone), row(&beside));
}

#[test]
fn ids_outside_a_table_that_is_hard_to_find_are_refused_too() {
    let mut graph = graph();
    let lookup = graph
        .node
        .iter_mut()
        .find(|n| n.output[0] == "word")
        .unwrap();
    lookup.input[1] = "ids".into();
    graph
        .node
        .insert(0, node("Identity", &["input_ids"], "ids"));
    let model = load_mean(graph).unwrap();
    assert_eq!(model.info().vocab_size, None);
    assert_close(&model, |ids| mean(&states(ids)));
    for id in [11, i32::MAX as u32, u32::MAX] {
        let batch: TokenBatch = [[id]].into_iter().collect();
        let error = model.forward(&batch, &mut [0.0; WIDTH]).unwrap_err();
        let kinds = [BackendErrorKind::Failed, BackendErrorKind::InvalidInput];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

/// The state at the place that `op` finds in the mask reversed, counted from the end: the last token's,
/// where of equal values the first is found.
fn last_by(op: &str, select_last_index: bool) -> GraphProto {
    let mut graph = graph();
    graph.initializer.extend([
        ints("far", &[1], &[i64::MIN + 1]),
        ints("first", &[1], &[0]),
        ints("one", &[], &[1]),
        floats("sign", &[], &[if op == "ArgMin" { -1.0 } else { 1.0 }]),
    ]);
    let find = with_int(node(op, &["signed"], "found"), "axis", 1);
    let find = with_int(find, "keepdims", 1);
    let find = match select_last_index {
        true => with_int(find, "select_last_index", 1),
        false => find,
    };
    graph.node.extend([
        node("Mul", &["mask", "sign"], "signed_mask"),
        node(
            "Slice",
            &["signed_mask", "last", "far", "second", "last"],
            "signed",
        ),
        find,
        node("Shape", &["mask"], "mask_shape"),
        node("Gather", &["mask_shape", "second"], "length"),
        node("Sub", &["length", "found"], "behind"),
        node("Sub", &["behind", "one"], "place"),
        node("Unsqueeze", &["place", "last"], "place_column"),
        node("Shape", &["last_hidden_state"], "states_shape"),
        node("Gather", &["states_shape", "last"], "width"),
        node(
            "Slice",
            &["states_shape", "first", "second", "first"],
            "texts",
        ),
        with_int(
            node("Concat", &["texts", "second", "width"], "wanted"),
            "axis",
            0,
        ),
        node("Expand", &["place_column", "wanted"], "places"),
        with_int(
            node("GatherElements", &["last_hidden_state", "places"], "taken"),
            "axis",
            1,
        ),
        node("Squeeze", &["taken", "second"], "sentence_embedding"),
    ]);
    graph.output = vec![value(
        "sentence_embedding",
        DataType::Float,
        &["batch", "3"],
    )];
    graph
}

#[test]
fn of_equal_values_the_first_is_found() {
    for op in ["ArgMax", "ArgMin"] {
        let model = load_mean(last_by(op, false)).unwrap();
        assert_close(&model, |ids| states(ids)[ids.len() - 1]);
        // The last of a reversed mask's ones is the first token's.
        let model = load_mean(last_by(op, true)).unwrap();
        assert_close(&model, |ids| states(ids)[0]);
    }
}

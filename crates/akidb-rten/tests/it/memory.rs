//! Graphs that ask for more memory than there is: an error, and other models go on.

use akidb_backend::{Backend, BackendError, BackendErrorKind, TokenBatch};
use akidb_onnx::proto::GraphProto;

use crate::builder::{ints, load_mean, node};
use crate::encoder::{WIDTH, graph, hidden_states};

/// [`graph`], plus zeros of a shape that is huge where the longest text has `tokens` tokens.
fn huge_at(tokens: i64) -> GraphProto {
    let mut graph = graph();
    graph.initializer.extend([
        ints("axis", &[], &[1]),
        ints("tokens", &[], &[tokens]),
        ints("large", &[3], &[1 << 12, 1 << 12, 1 << 12]),
        ints("small", &[3], &[1, 1, 1]),
    ]);
    graph.node.extend([
        node("Shape", &["input_ids"], "shape"),
        node("Gather", &["shape", "axis"], "length"),
        node("Equal", &["length", "tokens"], "attacked"),
        node("Where", &["attacked", "large", "small"], "wanted"),
        node("ConstantOfShape", &["wanted"], "zeros"),
        node("ReduceSum", &["zeros"], "nothing"),
        node("Add", &["last_hidden_state", "nothing"], "out"),
    ]);
    graph.output = vec![hidden_states("out")];
    graph
}

fn row(model: &impl Backend, ids: &[u32]) -> Result<Vec<f32>, BackendError> {
    let batch: TokenBatch = [ids].into_iter().collect();
    let mut row = vec![0.0; WIDTH];
    model.forward(&batch, &mut row).map(|()| row)
}

#[test]
fn a_text_whose_run_would_fill_the_memory_is_an_error_and_others_go_on() {
    let sound = load_mean(graph()).unwrap();
    let hostile = load_mean(huge_at(7)).unwrap();
    let error = row(&hostile, &[1; 7]).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel, "{error}");
    let message = error.to_string();
    assert!(message.contains("zeros/ConstantOfShape"), "{message}");
    assert!(
        message.contains("bytes would be held in memory"),
        "{message}"
    );
    for ids in [&[1, 2, 3][..], &[5; 8]] {
        assert_eq!(row(&hostile, ids).unwrap(), row(&sound, ids).unwrap());
    }
}

#[test]
fn a_graph_that_fills_the_memory_while_it_loads_is_refused() {
    let mut graph = graph();
    graph
        .initializer
        .push(ints("large", &[2], &[1 << 20, 1 << 20]));
    // Needs no input, so that it is computed once, when the model is loaded.
    graph.node.extend([
        node("ConstantOfShape", &["large"], "zeros"),
        node("ReduceSum", &["zeros"], "nothing"),
        node("Add", &["last_hidden_state", "nothing"], "out"),
    ]);
    graph.output = vec![hidden_states("out")];
    let error = load_mean(graph).err().unwrap();
    assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel, "{error}");
    assert!(
        error.to_string().contains("zeros/ConstantOfShape"),
        "{error}"
    );
}

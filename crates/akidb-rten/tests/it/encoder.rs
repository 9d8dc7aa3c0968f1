//! An encoder small enough to be computed by hand.

use akidb_onnx::proto::GraphProto;
use akidb_onnx::proto::tensor_proto::DataType;

use crate::builder::{floats, ints, node, token_input, value, with_int};

pub(crate) const WIDTH: usize = 3;
pub(crate) const VOCAB_SIZE: usize = 11;
const POSITIONS: usize = 64;

fn word(id: usize, j: usize) -> f32 {
    ((id * 7 + j * 5 + 3) % 13) as f32 - 6.0
}

fn position(i: usize, j: usize) -> f32 {
    ((i * 3 + j) % 5) as f32 * 0.25
}

fn segment(id: usize, j: usize) -> f32 {
    if id == 0 { j as f32 } else { 100.0 }
}

fn table(
    name: &str,
    rows: usize,
    value: fn(usize, usize) -> f32,
) -> akidb_onnx::proto::TensorProto {
    let values: Vec<f32> = (0..rows * WIDTH)
        .map(|k| value(k / WIDTH, k % WIDTH))
        .collect();
    floats(name, &[rows as i64, WIDTH as i64], &values)
}

/// BERT's inputs; each token's state is word + position + segment + the mean of these over the
/// tokens that `attention_mask` lets through.
pub(crate) fn graph() -> GraphProto {
    GraphProto {
        input: [
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "position_ids",
        ]
        .map(token_input)
        .into(),
        initializer: vec![
            table("words", VOCAB_SIZE, word),
            table("positions", POSITIONS, position),
            table("segments", 2, segment),
            ints("last", &[1], &[-1]),
            ints("second", &[1], &[1]),
        ],
        node: vec![
            node("Gather", &["words", "input_ids"], "word"),
            node("Gather", &["positions", "position_ids"], "position"),
            node("Gather", &["segments", "token_type_ids"], "segment"),
            node("Add", &["word", "position"], "sum"),
            node("Add", &["sum", "segment"], "embedding"),
            with_int(node("Cast", &["attention_mask"], "mask"), "to", 1),
            node("Unsqueeze", &["mask", "last"], "mask_column"),
            node("Mul", &["embedding", "mask_column"], "masked"),
            node("ReduceSum", &["masked", "second"], "total"),
            node("ReduceSum", &["mask_column", "second"], "count"),
            node("Div", &["total", "count"], "context"),
            node("Add", &["embedding", "context"], "last_hidden_state"),
        ],
        output: vec![hidden_states("last_hidden_state")],
        ..Default::default()
    }
}

pub(crate) fn hidden_states(name: &str) -> akidb_onnx::proto::ValueInfoProto {
    value(name, DataType::Float, &["batch", "tokens", "3"])
}

/// The states of one text's tokens, as [`graph`] computes them.
pub(crate) fn states(ids: &[u32]) -> Vec<[f32; WIDTH]> {
    let embed = |(i, &id): (usize, &u32)| {
        std::array::from_fn(|j| word(id as usize, j) + position(i, j) + segment(0, j))
    };
    let embeddings: Vec<[f32; WIDTH]> = ids.iter().enumerate().map(embed).collect();
    let mean = mean(&embeddings);
    let add = |e: &[f32; WIDTH]| std::array::from_fn(|j| e[j] + mean[j]);
    embeddings.iter().map(add).collect()
}

pub(crate) fn mean(states: &[[f32; WIDTH]]) -> [f32; WIDTH] {
    std::array::from_fn(|j| states.iter().map(|s| s[j]).sum::<f32>() / states.len() as f32)
}

/// Texts of many lengths.
pub(crate) fn texts() -> Vec<Vec<u32>> {
    [4, 1, 60, 2, 33, 4, 7, 1, 50]
        .iter()
        .enumerate()
        .map(|(i, &n)| {
            (0..n)
                .map(|j| ((i * 5 + j * j) % VOCAB_SIZE) as u32)
                .collect()
        })
        .collect()
}

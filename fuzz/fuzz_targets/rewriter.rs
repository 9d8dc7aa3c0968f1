//! A graph that an exporter wrote, which the first byte chooses, with changes, four bytes each: read as a model and as
//! one that scores, and packed where it is one.
#![no_main]

use std::fs;
use std::num::NonZeroUsize;
use std::sync::LazyLock;

use akidb_native::{Engine, EngineOptions};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{GraphProto, ModelProto, TensorProto};
use akidb_transformer::inspect::inspect_onnx;
use akidb_transformer::{Transformer, from_onnx, scorer_from_onnx};
use libfuzzer_sys::fuzz_target;
use prost::Message;

mod whole;

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/akidb-testing/fixtures/"
);
const GRAPHS: [&str; 20] = [
    "tiny-bert/onnx/model.onnx",
    "tiny-bert/onnx/model_o2.onnx",
    "tiny-bert/onnx/model_int8.onnx",
    "tiny-families/gemma/onnx/model.onnx",
    "tiny-families/modernbert/onnx/model.onnx",
    "tiny-families/nomic/onnx/model.onnx",
    "tiny-families/qwen3-bidirectional/onnx/model.onnx",
    "tiny-rerankers/bert/onnx/model.onnx",
    "tiny-rerankers/modernbert/onnx/model.onnx",
    "tiny-rerankers/qwen3-seq/onnx/model.onnx",
    "tiny-rerankers/qwen3/onnx/model.onnx",
    "tiny-f16/onnx/model_fp16.onnx",
    "tiny-gqa/onnx/model.onnx",
    "tiny-opset23/onnx/model.onnx",
    "tiny-opset23/onnx/model_qdq.onnx",
    "tiny-quantized/onnx/model_bnb4.onnx",
    "tiny-quantized/onnx/model_gqa.onnx",
    "tiny-quantized/onnx/model_int8.onnx",
    "tiny-quantized/onnx/model_mixed.onnx",
    "tiny-quantized/onnx/model_q4.onnx",
];
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    64,
    -1,
    -2,
    -3,
    1 << 31,
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// More changes than these leave no model to be found.
const MOST_CHANGES: usize = 8;

static MODELS: LazyLock<Vec<ModelProto>> = LazyLock::new(|| {
    let read = |name| fs::read(format!("{FIXTURES}{name}")).unwrap();
    GRAPHS
        .iter()
        .map(|name| ModelProto::decode(&read(name)[..]).unwrap())
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, changes)) = data.split_first() else {
        return;
    };
    let mut model = MODELS[usize::from(which) % MODELS.len()].clone();
    let graph = model.graph.as_mut().unwrap();
    for change in changes.as_chunks::<4>().0.iter().take(MOST_CHANGES) {
        apply(graph, *change);
    }
    let Ok(model) = OnnxModel::from_bytes(model.encode_to_vec().into()) else {
        return;
    };
    let _ = inspect_onnx(&model, None);
    let found = from_onnx(&model, None);
    let scorer = scorer_from_onnx(&model, None).map(|(found, _)| found);
    for model in [found, scorer].into_iter().flatten() {
        pack(&model);
    }
});

/// Reads what was recognised, and packs it, which gives a model or an error.
fn pack(model: &Transformer) {
    whole::read(model);
    let options = EngineOptions {
        threads: NonZeroUsize::new(1),
        ..EngineOptions::default()
    };
    let _ = Engine::new(model, options);
}

/// One change; what it names by a number is that of the graph modulo how many there are.
fn apply(graph: &mut GraphProto, [kind, a, b, c]: [u8; 4]) {
    let nodes = graph.node.len();
    if nodes == 0 {
        return;
    }
    let of = |n: usize, high: u8, low: u8| (usize::from(high) << 8 | usize::from(low)) % n.max(1);
    let number = NUMBERS[usize::from(c) % NUMBERS.len()];
    // A node by two bytes, and another near it, as parts of a model are.
    let at = of(nodes, a, b);
    let near = (at + 32 * nodes - 32 + usize::from(c & 0x3f)) % nodes;
    match kind % 12 {
        0 => {
            let value = graph.node[near].output.first().cloned();
            let inputs = &mut graph.node[at].input;
            let which = usize::from(c >> 6) % inputs.len().max(1);
            if let (Some(input), Some(value)) = (inputs.get_mut(which), value) {
                *input = value;
            }
        }
        1 => {
            let (op, domain) = (
                graph.node[near].op_type.clone(),
                graph.node[near].domain.clone(),
            );
            (graph.node[at].op_type, graph.node[at].domain) = (op, domain);
        }
        2 => graph.node[at].attribute = graph.node[near].attribute.clone(),
        3 => {
            for attribute in &mut graph.node[at].attribute {
                attribute.i = attribute.i.map(|_| number);
                attribute.f = attribute.f.map(|f| f * number as f32);
                attribute.ints.iter_mut().take(1).for_each(|i| *i = number);
                if let Some(tensor) = &mut attribute.t {
                    change_tensor(tensor, c, number);
                }
            }
        }
        4 => graph.node[at].input.reverse(),
        5 => graph.node[at].input.truncate(usize::from(c & 7)),
        6 => graph.node[at].output.reverse(),
        7 => {
            graph.node.remove(at);
        }
        8 => {
            let value = graph.node[near].output.clone();
            graph.node[at].output = value;
        }
        9 => {
            let (value, output) = (
                graph.node[at].output.first().cloned(),
                graph.output.first_mut(),
            );
            if let (Some(value), Some(output)) = (value, output) {
                output.name = Some(value);
            }
        }
        10 => {
            let tensors = graph.initializer.len();
            if let Some(tensor) = graph.initializer.get_mut(of(tensors, a, b)) {
                change_tensor(tensor, c, number);
            }
        }
        _ => {
            let tensors = graph.initializer.len();
            let name = graph
                .initializer
                .get(of(tensors, b, c))
                .and_then(|t| t.name.clone());
            let inputs = &mut graph.node[usize::from(a) % nodes].input;
            if let (Some(input), Some(name)) = (inputs.last_mut(), name) {
                *input = name;
            }
        }
    }
}

/// Other axes, type or elements.
fn change_tensor(tensor: &mut TensorProto, how: u8, number: i64) {
    match how >> 5 {
        0 => tensor.dims.reverse(),
        1 => tensor.dims.push(1),
        2 => tensor.dims.insert(0, 1),
        3 => tensor.dims.iter_mut().take(1).for_each(|dim| *dim = number),
        4 => tensor.data_type = Some((number & 31) as i32),
        5 => {
            let all = tensor
                .dims
                .iter()
                .fold(1, |all: i64, dim| all.wrapping_mul(*dim));
            tensor.dims = vec![all];
        }
        6 => {
            let len = tensor.raw_data.as_ref().map_or(0, |raw| raw.len());
            tensor.raw_data = Some(number.to_le_bytes().into_iter().cycle().take(len).collect());
        }
        _ => {
            let first = number.to_le_bytes();
            let raw = tensor.raw_data.clone().unwrap_or_default();
            let rest = raw.iter().skip(first.len()).copied();
            tensor.raw_data = Some(first.into_iter().take(raw.len()).chain(rest).collect());
        }
    }
}

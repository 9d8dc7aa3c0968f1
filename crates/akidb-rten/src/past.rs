//! The size of a cache that is given empty.

use akidb_onnx::model::OnnxModel;
use rten::{Dimension, Model};

/// Width of one head of the cache input `past`, whose own shape doesn't tell: that of the new
/// keys or values which the graph appends to it.
pub(crate) fn head_dim(onnx: &OnnxModel, model: &Model, past: &str, heads: usize) -> Option<usize> {
    onnx.consumers(past).find_map(|node| {
        let appended = match node.op_type() {
            "Concat" => node.input.iter().find(|input| *input != past)?,
            // query, key, value, …
            "GroupQueryAttention" | "MultiHeadAttention" => node.input.get(2)?,
            _ => return None,
        };
        let shape = model.node_info(model.find_node(appended)?)?.shape()?;
        match *shape.as_slice() {
            [_, _, _, Dimension::Fixed(width)] => Some(width),
            [_, _, Dimension::Fixed(width)] if heads > 0 => Some(width / heads),
            _ => None,
        }
    })
}

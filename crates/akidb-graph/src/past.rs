//! The size of a cache that is given empty.

use akidb_onnx::model::OnnxModel;

use crate::declared::{fixed, shape};

/// Width of one head of the cache input `past`, whose own shape doesn't tell: that of the new
/// keys or values which the graph appends to it, where the file declares their shape.
pub(crate) fn head_dim(onnx: &OnnxModel, past: &str, heads: usize) -> Option<usize> {
    onnx.consumers(past).find_map(|node| {
        let appended = match node.op_type() {
            "Concat" => node.input.iter().find(|input| *input != past)?,
            // query, key, value, …
            "GroupQueryAttention" | "MultiHeadAttention" => node.input.get(2)?,
            _ => return None,
        };
        let mut declared = onnx.graph().value_info.iter();
        match shape(declared.find(|value| value.name() == appended)?)? {
            [_, _, _, width] => fixed(width),
            [_, _, width] => fixed(width)?.checked_div(heads),
            _ => None,
        }
    })
}

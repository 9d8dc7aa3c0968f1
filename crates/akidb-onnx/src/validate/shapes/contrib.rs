//! ONNX Runtime's operators, and ONNX's own attention and rotary position.

use super::node::Node;
use super::products::of_inputs;
use super::{Dims, Inferred, shape, value};

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    Some(match node.op_type() {
        "RotaryEmbedding" | "FastGelu" | "QuickGelu" | "Gelu" | "BiasGelu" => {
            Ok(vec![node.like(0)])
        }
        // The other outputs are the norms and, last, the sum.
        "SkipSimplifiedLayerNormalization" | "SkipLayerNormalization" => Ok(vec![
            node.like(0),
            value(None, None),
            value(None, None),
            node.like(0),
        ]),
        "MultiHeadAttention" => Ok(vec![value(node.elem_type(0), multi_head(node))]),
        "GroupQueryAttention" => Ok(vec![value(node.elem_type(0), group_query(node))]),
        "MatMulNBits" | "MatMulBnb4" => blockwise(node),
        "DynamicQuantizeMatMul" => of_inputs(node).map(|dims| vec![value(node.elem_type(0), dims)]),
        _ => return None,
    })
}

/// As many values a token as `value` has; its own shape tells only where it isn't split into heads.
fn multi_head(node: &Node<'_>) -> Option<Dims> {
    let query = node.dims(0)?;
    let (&[batch, tokens, _], true) = (query.as_slice(), node.has(1)) else {
        return Some(vec![None; 3]);
    };
    let width = match node.dims(2).as_deref() {
        Some(&[_, _, width]) => width,
        _ => None,
    };
    Some(vec![batch, tokens, width])
}

/// As wide as the query, unless that holds keys and values too.
fn group_query(node: &Node<'_>) -> Option<Dims> {
    let query = node.dims(0)?;
    match query.as_slice() {
        &[batch, tokens, width] => Some(vec![batch, tokens, width.filter(|_| node.has(1))]),
        _ => None,
    }
}

/// A weight of K by N that is stored in blocks.
fn blockwise(node: &Node<'_>) -> Inferred {
    let mut dims = node.dims(0);
    if let (Some(dims), Some(inputs), Some(outputs)) = (&mut dims, node.int("K"), node.int("N"))
        && let Some(last) = dims.last().copied()
    {
        if last.is_some_and(|len| len != inputs) {
            return Err(format!(
                "{} has shape {}, its weight takes {inputs}",
                node.input_name(0),
                shape(dims)
            ));
        }
        if let Some(last) = dims.last_mut() {
            *last = Some(outputs);
        }
    }
    Ok(vec![value(node.elem_type(0), dims)])
}

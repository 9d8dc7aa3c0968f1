//! ONNX Runtime's operators, and ONNX's own attention and rotary position.

use super::node::Node;
use super::products::of_inputs;
use super::{Dims, Inferred, shape, value};
use crate::stated::Stated;

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
        "MultiHeadAttention" => {
            let present = present(node, "num_heads", 6);
            Ok(with_present(node, multi_head(node), present))
        }
        "GroupQueryAttention" => {
            let present = present(node, "kv_num_heads", 3);
            Ok(with_present(node, group_query(node), present))
        }
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
    match *query.as_slice() {
        [batch, tokens, width] if node.has(1) => Some(vec![batch, tokens, width]),
        [batch, tokens, width] => {
            let head = packed_head(node, width);
            let heads = node.int("num_heads");
            let width = head
                .zip(heads)
                .and_then(|(head, heads)| head.checked_mul(heads));
            Some(vec![batch, tokens, width])
        }
        _ => None,
    }
}

/// Width of a head where queries, keys and values of `width` in all lie beside each other.
fn packed_head(node: &Node<'_>, width: Option<i64>) -> Option<i64> {
    let (heads, shared) = (node.int("num_heads")?, node.int("kv_num_heads")?);
    width?.checked_div(shared.checked_mul(2)?.checked_add(heads)?)
}

fn with_present(node: &Node<'_>, out: Option<Dims>, present: Option<Dims>) -> Vec<Stated> {
    let elem_type = node.elem_type(0);
    let present = value(elem_type, present);
    vec![value(elem_type, out), present.clone(), present]
}

/// Keys, which are `[batch, heads, tokens, width]`, of the past at input `past` and of now.
fn present(node: &Node<'_>, heads: &str, past: usize) -> Option<Dims> {
    let heads = node.int(heads)?;
    let (batch, tokens, width) = match (node.dims(0)?.as_slice(), node.dims(1).as_deref()) {
        (_, Some(&[batch, tokens, width])) => (batch, tokens, width?.checked_div(heads)),
        (_, Some(&[batch, _, tokens, width])) => (batch, tokens, width),
        (&[batch, tokens, width], _) => (batch, tokens, packed_head(node, width)),
        _ => return None,
    };
    let before = node.dims(past).map_or(Some(0), |past| *past.get(2)?);
    let tokens = tokens
        .zip(before)
        .map(|(now, before)| now.saturating_add(before));
    Some(vec![batch, Some(heads), tokens, width])
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

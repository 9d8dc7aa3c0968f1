//! The masks of ONNX's `Attention`: booleans, where true takes part, or an attention bias.

use super::additive_mask::check_mask;
use crate::graph::walk::{Walk, input, int_attribute, need_input, unknown};
use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

/// Most nodes that a boolean mask may be made of.
const MAX_NODES: usize = 64;

/// Refuses `mask`, an input of `attention`, unless it closes padding and, if `causal` is asked for,
/// every position after a token's own; and nothing else.
///
/// A boolean mask is made of `And`, of `attention_mask` as booleans, and of the comparison of key
/// positions (a row) with query positions (a column). For an attention bias see [`check_mask`].
pub(super) fn check_attention_mask<'m>(
    walk: &Walk<'m>,
    attention: &'m NodeProto,
    mask: &'m str,
    causal: bool,
) -> Result<(), Error> {
    let is_bool = walk
        .model
        .producer(unwrapped(walk, mask))
        .is_some_and(is_boolean);
    if !is_bool {
        return check_mask(walk, attention, mask, causal);
    }
    let mut is_causal = false;
    let mut open = vec![mask];
    for _ in 0..MAX_NODES {
        let Some(value) = open.pop() else {
            return match causal && !is_causal {
                false => Ok(()),
                true => Err(unknown(attention, "its mask is not seen to be causal")),
            };
        };
        let value = unwrapped(walk, value);
        let Some(node) = walk.model.producer(value) else {
            return Err(unknown(attention, "its mask is no known boolean one"));
        };
        if is_op(node, "", "And") {
            open.extend([need_input(node, 0)?, need_input(node, 1)?]);
        } else if is_causal_comparison(walk, node)? {
            is_causal = true;
        } else if !is_padding(walk, node)? {
            return Err(unknown(node, "it is not expected in an attention mask"));
        }
    }
    Err(unknown(attention, "its mask is made of too many nodes"))
}

/// The value before axes of length 1 are put before those of a mask, and repeated.
fn unwrapped<'m>(walk: &Walk<'m>, mut value: &'m str) -> &'m str {
    for _ in 0..MAX_NODES {
        let Some(node) = walk.model.producer(value) else {
            break;
        };
        match input(node, 0) {
            Some(before) if is_op(node, "", "Unsqueeze") || is_op(node, "", "Expand") => {
                value = before;
            }
            _ => break,
        }
    }
    value
}

fn is_boolean(node: &NodeProto) -> bool {
    const OPERATORS: [&str; 6] = [
        "And",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
    ];
    OPERATORS.iter().any(|op| is_op(node, "", op))
        || is_op(node, "", "Not")
        || is_cast_to_bool(node)
}

fn is_cast_to_bool(node: &NodeProto) -> bool {
    is_op(node, "", "Cast") && int_attribute(node, "to", 0) == i64::from(DataType::Bool as i32)
}

/// `attention_mask` as booleans: cast, above 0, or 1.
fn is_padding<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<bool, Error> {
    let Some(value) = input(node, 0).map(|value| unwrapped(walk, value)) else {
        return Ok(false);
    };
    if value != "attention_mask" || !walk.model.is_input(value) {
        return Ok(false);
    }
    if is_op(node, "", "Greater") {
        return Ok(walk.ints(node, 1)? == [0]);
    }
    if is_op(node, "", "Equal") {
        return Ok(walk.ints(node, 1)? == [1]);
    }
    Ok(is_cast_to_bool(node))
}

/// `j <= i`, `j < i + 1`, or either the other way round, for a row of key positions j and a column
/// of query positions i.
fn is_causal_comparison<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<bool, Error> {
    let (keys, queries, one_more) = match node.op_type() {
        "LessOrEqual" => (0, 1, false),
        "Less" => (0, 1, true),
        "GreaterOrEqual" => (1, 0, false),
        "Greater" => (1, 0, true),
        _ => return Ok(false),
    };
    let (Some(row), Some(mut column)) = (input(node, keys), input(node, queries)) else {
        return Ok(false);
    };
    if !node.domain().is_empty() && node.domain() != "ai.onnx" {
        return Ok(false);
    }
    // The addition comes before or after the new axis.
    let mut added = false;
    let mut turned = false;
    for _ in 0..2 {
        let Some(node) = walk.model.producer(column) else {
            break;
        };
        if one_more && !added && is_op(node, "", "Add") && walk.ints(node, 1)? == [1] {
            added = true;
        } else if !turned && is_column(walk, node)? {
            turned = true;
        } else {
            break;
        }
        column = need_input(node, 0)?;
    }
    let row = match walk.model.producer(row) {
        Some(node) if is_row(walk, node)? => need_input(node, 0)?,
        _ => row,
    };
    Ok(added == one_more && turned && row == column && is_range(walk, row)?)
}

/// True of what makes a column of positions.
fn is_column<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<bool, Error> {
    if is_op(node, "", "Unsqueeze") {
        return Ok(matches!(
            *walk.ints(node, 1)?,
            [1 | -1] | [0, 2] | [0, 1, 3]
        ));
    }
    Ok(is_op(node, "", "Reshape") && walk.ints(node, 1)? == [-1, 1])
}

/// True of what makes a row of positions; the positions alone are one, too.
fn is_row<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<bool, Error> {
    if is_op(node, "", "Unsqueeze") {
        return Ok(matches!(
            *walk.ints(node, 1)?,
            [0 | -2] | [0, 1] | [0, 1, 2]
        ));
    }
    Ok(is_op(node, "", "Reshape") && walk.ints(node, 1)? == [1, -1])
}

/// Positions from 0 on.
fn is_range<'m>(walk: &Walk<'m>, value: &'m str) -> Result<bool, Error> {
    match walk.op_if(value, "", "Range") {
        Some(range) => Ok(walk.ints(range, 0)? == [0] && walk.ints(range, 2)? == [1]),
        None => Ok(false),
    }
}

//! Is an attention bias the usual one: causal, and closed to padding?

use std::collections::HashSet;

use crate::graph::walk::{Walk, attribute, need_input, unknown};
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

/// Operators of which such masks are made, comparisons aside.
const MASK_OPS: [&str; 18] = [
    "Add",
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Equal",
    "Expand",
    "Gather",
    "Mul",
    "Range",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Sub",
    "Tile",
    "Unsqueeze",
    "Where",
];

/// What stands for minus infinity is at most this (f16 masks use -65504).
const BLOCKED: f32 = -1e4;

/// Refuses `bias`, an input of `attention`, unless it depends on `attention_mask` and, if `causal`
/// is asked for, closes every position after a token's own.
///
/// The bias is not evaluated. It must be made of [`MASK_OPS`], of the constants 0, 1 and "minus
/// infinity", and of no comparison but the one of a causal mask: so neither a sliding window nor
/// a positional bias is taken for it.
pub(super) fn check_mask<'m>(
    walk: &Walk<'m>,
    attention: &'m NodeProto,
    bias: &'m str,
    causal: bool,
) -> Result<(), Error> {
    let mut reaches_mask = false;
    let mut is_causal = false;
    let mut seen = HashSet::from([bias]);
    let mut open = vec![bias];
    while let Some(value) = open.pop() {
        if value == "attention_mask" && walk.model.is_input(value) {
            reaches_mask = true;
            continue;
        }
        let Some(node) = walk.model.producer(value) else {
            check_constant(attention, value, walk.constant(value)?)?;
            continue;
        };
        if !MASK_OPS.iter().any(|op| is_op(node, "", op)) {
            return Err(unknown(node, "it is not expected in an attention mask"));
        }
        let inputs = match node.op_type() {
            "Constant" => {
                check_constant(node, value, walk.constant(value)?)?;
                &[]
            }
            "ConstantOfShape" => {
                check_fill(walk, node)?;
                &node.input[..]
            }
            "Where" if is_causal_where(walk, node)? => {
                is_causal = true;
                &[]
            }
            // A shape depends on no value.
            "Shape" => &[],
            _ => &node.input[..],
        };
        let inputs = inputs.iter().map(String::as_str);
        open.extend(inputs.filter(|name| !name.is_empty() && seen.insert(name)));
    }
    if !reaches_mask {
        return Err(unknown(
            attention,
            "its mask does not depend on attention_mask",
        ));
    }
    if causal && !is_causal {
        return Err(unknown(attention, "its mask is not seen to be causal"));
    }
    Ok(())
}

/// `Where(j < i + 1, 0, -inf)` for a row of key positions j and a column of query positions i.
///
/// # Errors
/// When it hangs on another comparison.
fn is_causal_where<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<bool, Error> {
    let Some(less) = walk.model.producer(need_input(node, 0)?) else {
        return Ok(false);
    };
    let one_more = match less.op_type() {
        "Less" => true,
        "LessOrEqual" => false,
        _ => return Ok(false),
    };
    let causal = || -> Result<bool, Error> {
        let row = need_input(less, 0)?;
        let Some(range) = walk.op_if(row, "", "Range") else {
            return Ok(false);
        };
        let Some(column) = walk.op_if(need_input(less, 1)?, "", "Reshape") else {
            return Ok(false);
        };
        let column = need_input(column, 0)?;
        let column_is_right = match walk.op_if(column, "", "Add") {
            Some(add) if one_more => {
                need_input(add, 0)? == row && walk.ints(add, 1)?.as_slice() == [1]
            }
            None if !one_more => column == row,
            _ => false,
        };
        let closed = match walk.op_if(need_input(node, 2)?, "", "ConstantOfShape") {
            Some(fill) => fill_value(walk, fill)?,
            None => walk.constant(need_input(node, 2)?)?,
        };
        Ok(column_is_right
            && walk.ints(range, 0)?.as_slice() == [0]
            && walk.ints(range, 2)?.as_slice() == [1]
            && is_scalar(walk.constant(need_input(node, 1)?)?, |v| v == 0.0)?
            && is_scalar(closed, |v| v <= BLOCKED)?)
    };
    if causal()? {
        Ok(true)
    } else {
        Err(unknown(less, "it is not the comparison of a causal mask"))
    }
}

fn check_constant(node: &NodeProto, value: &str, tensor: Option<Tensor>) -> Result<(), Error> {
    let known = match &tensor {
        Some(tensor) if tensor.dtype().is_float() => is_scalar(Some(tensor.clone()), |v| {
            v == 0.0 || v == 1.0 || v <= BLOCKED
        })?,
        Some(_) => true,
        None => false,
    };
    if known {
        return Ok(());
    }
    let why = format!("{:?} is not expected in an attention mask", shorten(value));
    Err(unknown(node, why))
}

fn check_fill<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<(), Error> {
    match fill_value(walk, node)? {
        Some(tensor) => check_constant(node, tensor.name(), Some(tensor.clone())),
        None => Ok(()),
    }
}

/// The `value` of a `ConstantOfShape`, which is 0 when absent.
fn fill_value<'m>(walk: &Walk<'m>, node: &'m NodeProto) -> Result<Option<Tensor>, Error> {
    match attribute(node, "value").and_then(|a| a.t.as_deref()) {
        Some(proto) => walk.model.tensor(proto).map(Some),
        None => Ok(None),
    }
}

fn is_scalar(tensor: Option<Tensor>, test: impl Fn(f32) -> bool) -> Result<bool, Error> {
    match tensor {
        Some(tensor) if tensor.len() == 1 && tensor.dtype().is_float() => {
            Ok(tensor.to_f32_vec()?.iter().all(|&v| test(v)))
        }
        _ => Ok(false),
    }
}

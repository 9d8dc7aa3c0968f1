//! Operators that choose among values, or make as many as an input says.

use super::node::{Node, len};
use super::{Dims, Inferred, axis_of, value};
use crate::proto::tensor_proto::DataType;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    let one = |dims: Option<Dims>| Ok(vec![value(node.elem_type(0), dims)]);
    Some(match node.op_type() {
        "BatchNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "EyeLike"
        | "ReverseSequence"
        | "Scatter"
        | "ThresholdedRelu"
        | "Shrink"
        | "TensorScatter" => one(node.dims(0)),
        "CastLike" => Ok(vec![value(node.elem_type(1), node.dims(0))]),
        "BitCast" => Ok(vec![value(None, node.dims(0))]),
        "Flatten" => flatten(node).map(|dims| vec![value(node.elem_type(0), dims)]),
        "GatherND" => one(gather_nd(node)),
        "OneHot" => one_hot(node),
        "TopK" => top_k(node),
        "Pad" => one(pad(node)),
        "Einsum" => one(einsum(node)),
        _ => return None,
    })
}

/// The product of these axes; unknown when one is.
fn product(dims: &[Option<i64>]) -> Option<i64> {
    dims.iter()
        .try_fold(1i64, |all, dim| Some(all.saturating_mul((*dim)?)))
}

fn flatten(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let Some(dims) = node.dims(0) else {
        return Ok(None);
    };
    let axis = match node.int_or("axis", 1) {
        axis if len(dims.len()) == Some(axis) => dims.len(),
        axis => axis_of(axis, dims.len())?,
    };
    let (rows, columns) = dims.split_at(axis);
    Ok(Some(vec![product(rows), product(columns)]))
}

fn gather_nd(node: &Node<'_>) -> Option<Dims> {
    let (data, indices) = (node.dims(0)?, node.dims(1)?);
    let batch = usize::try_from(node.int_or("batch_dims", 0)).ok()?;
    let (last, outer) = indices.split_last()?;
    let depth = usize::try_from((*last)?).ok()?.checked_add(batch)?;
    let mut dims = outer.to_vec();
    dims.extend(data.get(depth..)?);
    Some(dims)
}

fn one_hot(node: &Node<'_>) -> Inferred {
    let depth = node
        .ints(1)
        .as_deref()
        .and_then(|depth| depth.first().copied());
    let Some(mut dims) = node.dims(0) else {
        return Ok(vec![value(node.elem_type(2), None)]);
    };
    let axis = axis_of(node.int_or("axis", -1), dims.len() + 1)?;
    dims.insert(axis, depth);
    Ok(vec![value(node.elem_type(2), Some(dims))])
}

fn top_k(node: &Node<'_>) -> Inferred {
    let k = match node.int("k") {
        Some(k) => Some(k),
        None => node.ints(1).as_deref().and_then(|k| k.first().copied()),
    };
    let mut dims = node.dims(0);
    if let Some(dims) = &mut dims {
        let axis = axis_of(node.int_or("axis", -1), dims.len())?;
        if let (Some(k), Some(len)) = (k, dims[axis])
            && k > len
        {
            return Err(format!("the {k} largest of {len}"));
        }
        dims[axis] = k;
    }
    Ok(vec![
        value(node.elem_type(0), dims.clone()),
        value(Some(DataType::Int64), dims),
    ])
}

fn pad(node: &Node<'_>) -> Option<Dims> {
    let mut dims = node.dims(0)?;
    let pads = node.ints_of(1, "pads")?;
    let axes = match node.has(3) {
        true => node.ints(3)?,
        false => (0..dims.len()).filter_map(len).collect(),
    };
    let (before, after) = pads.split_at_checked(axes.len())?;
    for ((axis, before), after) in axes.iter().zip(before).zip(after) {
        let axis = axis_of(*axis, dims.len()).ok()?;
        let padded = dims[axis]?.saturating_add(*before).saturating_add(*after);
        dims[axis] = Some(padded.max(0));
    }
    (before.len() == after.len()).then_some(dims)
}

/// Of an equation without `...`, which names each axis of the output.
fn einsum(node: &Node<'_>) -> Option<Dims> {
    let equation = node.text("equation")?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = equation.split_once("->")?;
    if equation.contains('.') {
        return None;
    }
    let mut lengths = Vec::new();
    for (i, axes) in inputs.split(',').enumerate() {
        let dims = node.dims(i)?;
        if axes.chars().count() != dims.len() {
            return None;
        }
        lengths.extend(axes.chars().zip(dims));
    }
    let length = |axis: char| {
        let of_axis = lengths.iter().filter(|(name, _)| *name == axis);
        of_axis.map(|(_, dim)| *dim).max().flatten()
    };
    Some(output.chars().map(length).collect())
}

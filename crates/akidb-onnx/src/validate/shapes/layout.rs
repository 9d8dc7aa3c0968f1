//! Operators that move, pick and count values.

use super::elements::{broadcast, only_type};
use super::node::{Node, len};
use super::{Dims, Inferred, axis_of, same_type, shape, value};
use crate::proto::tensor_proto::DataType;
use crate::stated::Stated;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    let one = |dims: Result<Option<Dims>, String>| Ok(vec![value(node.elem_type(0), dims?)]);
    Some(match node.op_type() {
        "Constant" => Ok(vec![node.constant().unwrap_or_default()]),
        "Shape" => shape_of(node),
        "Size" => Ok(vec![value(Some(DataType::Int64), Some(vec![]))]),
        "NonZero" => Ok(vec![value(
            Some(DataType::Int64),
            Some(vec![node.rank(0).and_then(len), None]),
        )]),
        "Range" => Ok(vec![value(node.elem_type(0), Some(vec![None]))]),
        "ConstantOfShape" => Ok(vec![constant_of_shape(node)]),
        "Transpose" => one(transpose(node)),
        "Reshape" => one(reshape(node)),
        "Expand" => one(expand(node)),
        "Tile" => one(Ok(tile(node))),
        "Squeeze" => one(squeeze(node)),
        "Unsqueeze" => one(unsqueeze(node)),
        "Gather" => one(gather(node)),
        "GatherElements" => one(Ok(node.dims(1))),
        "Slice" => one(slice(node)),
        "Concat" => concat(node),
        "Split" => split(node),
        _ => return None,
    })
}

fn shape_of(node: &Node<'_>) -> Inferred {
    let axes = node.rank(0).and_then(len).map(|rank| {
        let at = |axis: i64| {
            if axis < 0 {
                axis.saturating_add(rank)
            } else {
                axis
            }
            .clamp(0, rank)
        };
        let (start, end) = (node.int_or("start", 0), node.int_or("end", rank));
        at(end).saturating_sub(at(start)).max(0)
    });
    Ok(vec![value(Some(DataType::Int64), Some(vec![axes]))])
}

/// The shape that a constant input holds, or as many unknown axes as it has values.
fn held_shape(node: &Node<'_>, input: usize) -> Option<Dims> {
    if let Some(dims) = node.ints(input) {
        return Some(dims.into_iter().map(Some).collect());
    }
    match node.dims(input)?.as_slice() {
        &[Some(rank)] => Some(vec![None; usize::try_from(rank).ok().filter(|&r| r <= 64)?]),
        _ => None,
    }
}

fn constant_of_shape(node: &Node<'_>) -> Stated {
    let elem_type = match node.attribute("value") {
        Some(attribute) => {
            let tensor = attribute.t.as_deref();
            tensor.and_then(|tensor| Stated::of_constant(tensor).elem_type)
        }
        None => Some(DataType::Float),
    };
    value(elem_type, held_shape(node, 0))
}

fn transpose(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let Some(dims) = node.dims(0) else {
        return Ok(None);
    };
    let Some(perm) = node.attribute("perm") else {
        return Ok(Some(dims.into_iter().rev().collect()));
    };
    let mut axes: Vec<i64> = perm.ints.clone();
    axes.sort_unstable();
    if !axes.iter().copied().map(Some).eq((0..dims.len()).map(len)) {
        return Err(format!(
            "its perm doesn't fit {} of shape {}",
            node.input_name(0),
            shape(&dims)
        ));
    }
    let moved = perm.ints.iter().map(|&axis| {
        let axis = usize::try_from(axis).ok();
        axis.and_then(|axis| dims.get(axis).copied()).flatten()
    });
    Ok(Some(moved.collect()))
}

/// Number of values; `None` when an axis isn't known.
fn count(dims: &[Option<i64>]) -> Option<i64> {
    dims.iter()
        .try_fold(1i64, |count, dim| count.checked_mul((*dim)?))
}

fn reshape(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let Some(wanted) = node.ints(1) else {
        return Ok(held_shape(node, 1));
    };
    let input = node.dims(0);
    let copies = node.int_or("allowzero", 0) == 0;
    let mut dims: Dims = Vec::with_capacity(wanted.len());
    let mut rest = None;
    for (i, &len) in wanted.iter().enumerate() {
        dims.push(match len {
            -1 if rest.replace(i).is_some() => {
                return Err(format!("{} has -1 twice", node.input_name(1)));
            }
            -1 => None,
            0 if copies => match &input {
                Some(input) => *input.get(i).ok_or_else(|| {
                    format!("{} copies axis {i}, which is not there", node.input_name(1))
                })?,
                None => None,
            },
            len => Some(len),
        });
    }
    let refused = |input: &[Option<i64>]| {
        let wanted: Dims = wanted.iter().copied().map(Some).collect();
        Err(format!(
            "{} of shape {} can't have shape {}",
            node.input_name(0),
            shape(input),
            shape(&wanted)
        ))
    };
    if let Some(input) = input
        && let Some(values) = count(&input)
    {
        match rest {
            None if count(&dims).is_some_and(|n| n != values) => return refused(&input),
            None => {}
            Some(rest) => {
                let others: Dims = dims
                    .iter()
                    .enumerate()
                    .filter(|&(i, _)| i != rest)
                    .map(|(_, dim)| *dim)
                    .collect();
                if let Some(others) = count(&others).filter(|&n| n > 0) {
                    if values % others != 0 {
                        return refused(&input);
                    }
                    dims[rest] = Some(values / others);
                }
            }
        }
    }
    Ok(Some(dims))
}

fn expand(node: &Node<'_>) -> Result<Option<Dims>, String> {
    match (node.dims(0), held_shape(node, 1)) {
        (Some(dims), Some(wanted)) => broadcast(&dims, &wanted).map(Some),
        _ => Ok(None),
    }
}

fn tile(node: &Node<'_>) -> Option<Dims> {
    let dims = node.dims(0)?;
    let Some(repeats) = node.ints(1).filter(|repeats| repeats.len() == dims.len()) else {
        return Some(vec![None; dims.len()]);
    };
    let both = dims.into_iter().zip(repeats);
    Some(both.map(|(dim, n)| Some(dim?.saturating_mul(n))).collect())
}

fn squeeze(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let (Some(dims), Some(axes)) = (node.dims(0), node.ints_of(1, "axes")) else {
        return Ok(None);
    };
    if axes.is_empty() {
        // Which axes go is known where all are.
        let known = dims.iter().all(Option::is_some);
        return Ok(known.then(|| dims.into_iter().filter(|&dim| dim != Some(1)).collect()));
    }
    let axes = axes.iter().map(|&axis| axis_of(axis, dims.len()));
    let axes: Vec<usize> = axes.collect::<Result<_, _>>()?;
    if let Some(&axis) = axes.iter().find(|&&axis| {
        dims.get(axis)
            .copied()
            .flatten()
            .is_some_and(|len| len != 1)
    }) {
        return Err(format!(
            "axis {axis} of {} with shape {} is not 1",
            node.input_name(0),
            shape(&dims)
        ));
    }
    let rest = dims.into_iter().enumerate();
    let rest = rest.filter(|(i, _)| !axes.contains(i)).map(|(_, dim)| dim);
    Ok(Some(rest.collect()))
}

fn unsqueeze(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let (Some(dims), Some(axes)) = (node.dims(0), node.ints_of(1, "axes")) else {
        return Ok(None);
    };
    let rank = dims.len() + axes.len();
    let axes = axes.iter().map(|&axis| axis_of(axis, rank));
    let axes: Vec<usize> = axes.collect::<Result<_, _>>()?;
    let mut rest = dims.into_iter();
    let new = (0..rank).map(|i| match axes.contains(&i) {
        true => Some(1),
        false => rest.next().flatten(),
    });
    Ok(Some(new.collect()))
}

fn gather(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let (Some(data), Some(indices)) = (node.dims(0), node.dims(1)) else {
        return Ok(None);
    };
    let axis = axis_of(node.int_or("axis", 0), data.len())?;
    let mut dims = data[..axis].to_vec();
    dims.extend(indices);
    dims.extend(&data[axis + 1..]);
    Ok(Some(dims))
}

fn slice(node: &Node<'_>) -> Result<Option<Dims>, String> {
    let Some(mut dims) = node.dims(0) else {
        return Ok(None);
    };
    let list = |input, attribute| node.ints_of(input, attribute);
    let (Some(starts), Some(ends)) = (list(1, "starts"), list(2, "ends")) else {
        return Ok(Some(unknown_at(dims, list(3, "axes"))?));
    };
    let (Some(axes), Some(steps)) = (list(3, "axes"), list(4, "steps")) else {
        return Ok(Some(vec![None; dims.len()]));
    };
    let axes = match axes.as_slice() {
        [] => (0..starts.len()).filter_map(len).collect(),
        _ => axes,
    };
    let steps = match steps.as_slice() {
        [] => vec![1; starts.len()],
        _ => steps,
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("its starts, ends, axes and steps are not equally many".to_owned());
    }
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, dims.len())?;
        dims[axis] = dims[axis].and_then(|dim| sliced(dim, starts[i], ends[i], steps[i]));
    }
    Ok(Some(dims))
}

/// `dims` with unknown lengths of these axes, or of all.
fn unknown_at(mut dims: Dims, axes: Option<Vec<i64>>) -> Result<Dims, String> {
    match axes {
        Some(axes) if !axes.is_empty() => {
            for axis in axes {
                let axis = axis_of(axis, dims.len())?;
                dims[axis] = None;
            }
            Ok(dims)
        }
        _ => Ok(vec![None; dims.len()]),
    }
}

/// Length of a slice of an axis, as Python counts.
fn sliced(dim: i64, start: i64, end: i64, step: i64) -> Option<i64> {
    if dim < 0 {
        return None;
    }
    let from_end = |i: i64| if i < 0 { i.saturating_add(dim) } else { i };
    let distance = match step {
        0 => return None,
        1.. => {
            let (start, end) = (from_end(start).clamp(0, dim), from_end(end).clamp(0, dim));
            end.saturating_sub(start)
        }
        _ => {
            let last = dim.saturating_sub(1).max(-1);
            let start = from_end(start).clamp(-1, last);
            start.saturating_sub(from_end(end).clamp(-1, last))
        }
    };
    let step = i64::try_from(step.unsigned_abs()).ok()?;
    Some(distance.max(0).saturating_add(step - 1) / step)
}

fn concat(node: &Node<'_>) -> Inferred {
    let mut elem_type = node.elem_type(0);
    for input in 1..node.inputs() {
        elem_type = elem_type.or(same_type(node, 0, input)?);
    }
    let shapes: Option<Vec<Dims>> = (0..node.inputs()).map(|input| node.dims(input)).collect();
    let (Some(shapes), Some(axis)) = (shapes, node.int("axis")) else {
        return Ok(vec![only_type(elem_type)]);
    };
    let mut shapes = shapes.into_iter().enumerate();
    let Some((_, mut all)) = shapes.next() else {
        return Ok(vec![only_type(elem_type)]);
    };
    let axis = axis_of(axis, all.len())?;
    for (input, dims) in shapes {
        let refused = || {
            Err(format!(
                "{} of shape {} can't follow {} along axis {axis}",
                node.input_name(input),
                shape(&dims),
                shape(&all)
            ))
        };
        if dims.len() != all.len() {
            return refused();
        }
        let mut joined = Vec::with_capacity(all.len());
        for (i, (&a, &b)) in all.iter().zip(&dims).enumerate() {
            joined.push(match (a, b) {
                (Some(a), Some(b)) if i == axis => a.checked_add(b),
                _ if i == axis => None,
                (Some(a), Some(b)) if a != b => return refused(),
                (a, b) => a.or(b),
            });
        }
        all = joined;
    }
    Ok(vec![value(elem_type, Some(all))])
}

fn split(node: &Node<'_>) -> Inferred {
    let parts = node.outputs();
    let elem_type = node.elem_type(0);
    let Some(dims) = node.dims(0) else {
        return Ok(vec![only_type(elem_type); parts]);
    };
    let axis = axis_of(node.int_or("axis", 0), dims.len())?;
    let lengths: Vec<Option<i64>> = match node.ints_of(1, "split") {
        Some(lengths) if lengths.len() == parts => {
            let all = lengths.iter().try_fold(0i64, |sum, &n| sum.checked_add(n));
            if let (Some(all), Some(dim)) = (all, dims[axis])
                && all != dim
            {
                return Err(format!(
                    "parts of {all} in all, axis {axis} of {} is {dim} long",
                    node.input_name(0)
                ));
            }
            lengths.into_iter().map(Some).collect()
        }
        // Equal parts, where they can be.
        Some(lengths) if lengths.is_empty() => {
            let parts_i = len(parts).filter(|&n| n > 0);
            let even = dims[axis].zip(parts_i).filter(|(dim, n)| dim % n == 0);
            vec![even.map(|(dim, n)| dim / n); parts]
        }
        _ => vec![None; parts],
    };
    let part = |len: Option<i64>| {
        let mut dims = dims.clone();
        dims[axis] = len;
        value(elem_type, Some(dims))
    };
    Ok(lengths.into_iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_as_long_as_pythons() {
        // len(list(range(dim))[start:end:step])
        for (dim, start, end, step, expected) in [
            (10, 0, 10, 1, 10),
            (10, 2, i64::MAX, 1, 8),
            (10, -3, -1, 1, 2),
            (10, 5, 2, 1, 0),
            (10, 0, 10, 3, 4),
            (10, -1, i64::MIN, -1, 10),
            (10, 8, 2, -2, 3),
            (10, 20, -20, -3, 4),
            (0, 0, 5, 1, 0),
            (0, -1, i64::MIN, -1, 0),
        ] {
            let found = sliced(dim, start, end, step);
            assert_eq!(found, Some(expected), "{dim} {start}:{end}:{step}");
        }
        assert_eq!(sliced(10, 0, 10, 0), None);
        assert_eq!(sliced(10, i64::MIN, i64::MAX, i64::MIN), None);
    }
}

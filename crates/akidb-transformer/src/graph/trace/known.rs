//! Operators on elements that are known.

use std::rc::Rc;

use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

use super::array::{Array, Kind, MAX_LEN, len_of};
use crate::graph::walk::{attribute, int_attribute};

type Arrays = [Option<Rc<Array>>];

/// What a node of ONNX's own operators makes of its inputs; `None` when that isn't known.
pub(super) fn apply(node: &NodeProto, inputs: &Arrays) -> Option<Vec<Array>> {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return None;
    }
    let get = |i: usize| inputs.get(i).and_then(Option::as_ref);
    let op = node.op_type();
    if op == "Split" {
        return split(node, get(0)?, get(1).map(Rc::as_ref));
    }
    if let Some(found) = binary(op, get(0), get(1)) {
        return found.map(|array| vec![array]);
    }
    if let Some((kind, of)) = unary(op) {
        let x = get(0)?;
        let kind = kind.unwrap_or(x.kind);
        return Some(vec![x.map(kind, of)]);
    }
    let x = get(0);
    let array = match op {
        "Identity" | "Dropout" | "CastLike" => x?.as_ref().clone(),
        "Cast" => cast(x?, int_attribute(node, "to", 0))?,
        "Shape" | "Size" => shape(node, &x?.dims)?,
        "ConstantOfShape" => constant_of_shape(node, x?)?,
        "Range" => range(x?, get(1)?, get(2)?)?,
        "Reshape" => {
            let allow_zero = int_attribute(node, "allowzero", 0) != 0;
            x?.reshape(target(&x?.dims, &get(1)?.to_ints(), allow_zero)?)?
        }
        "Flatten" => x?.reshape(flattened(node, &x?.dims)?)?,
        "Unsqueeze" => x?.reshape(unsqueezed(&x?.dims, &axes(node, get(1))?)?)?,
        "Squeeze" => x?.reshape(squeezed(&x?.dims, axes(node, get(1)).as_deref())?)?,
        "Transpose" => x?.transpose(&perm(node, x?.dims.len())?)?,
        "Expand" => {
            let dims: Option<Vec<usize>> = sizes(&get(1)?.to_ints());
            let dims = super::array::broadcast(&x?.dims, &dims?)?;
            x?.expand(&dims)?
        }
        "Concat" => {
            let arrays: Option<Vec<Rc<Array>>> = inputs.iter().cloned().collect();
            let arrays = arrays?;
            let axis = axis(int_attribute(node, "axis", 0), arrays.first()?.dims.len())?;
            Array::concat(&arrays, axis)?
        }
        "Slice" => slice(node, inputs)?,
        "Gather" => {
            let axis = axis(int_attribute(node, "axis", 0), x?.dims.len())?;
            x?.gather(axis, get(1)?)?
        }
        "GatherElements" => {
            let axis = axis(int_attribute(node, "axis", 0), x?.dims.len())?;
            x?.gather_elements(axis, get(1)?)?
        }
        "GatherND" if int_attribute(node, "batch_dims", 0) == 0 => x?.gather_nd(get(1)?)?,
        "Where" => {
            let (cond, a, b) = (x?, get(1)?, get(2)?);
            let kind = a.kind;
            // The other one's place is taken by zeros, which are finite.
            let yes = cond.zip(a, kind, |c, a| if c != 0.0 { a } else { 0.0 })?;
            let no = cond.zip(b, kind, |c, b| if c != 0.0 { 0.0 } else { b })?;
            yes.zip(&no, kind, |yes, no| yes + no)?
        }
        "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceMean" => {
            reduce(op, node, x?, get(1))?
        }
        "ArgMax" if int_attribute(node, "select_last_index", 0) == 0 => {
            let axis = axis(int_attribute(node, "axis", 0), x?.dims.len())?;
            x?.arg_max(axis, int_attribute(node, "keepdims", 1) != 0)?
        }
        "CumSum" => {
            let plain =
                int_attribute(node, "exclusive", 0) == 0 && int_attribute(node, "reverse", 0) == 0;
            let axis = axis(get(1)?.scalar()? as i64, x?.dims.len())?;
            plain.then(|| x?.cumulative_sum(axis)).flatten()?
        }
        "MatMul" => x?.matmul(get(1)?)?,
        "Einsum" if is_outer_product(node) => {
            let (a, b) = (x?, get(1)?);
            let column = a.reshape(vec![a.data.len(), 1])?;
            column.matmul(&b.reshape(vec![1, b.data.len()])?)?
        }
        "Trilu" => trilu(
            x?,
            get(1).map_or(Some(0.0), |k| k.scalar())?,
            int_attribute(node, "upper", 1) != 0,
        )?,
        "Clip" => {
            let bound = |i: usize, none: f64| get(i).map_or(Some(none), |bound| bound.scalar());
            let (low, high) = (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?);
            if attribute(node, "min").is_some() || attribute(node, "max").is_some() {
                return None;
            }
            x?.map(x?.kind, |x| x.max(low).min(high))
        }
        _ => return None,
    };
    Some(vec![array])
}

fn is_outer_product(node: &NodeProto) -> bool {
    let equation = attribute(node, "equation").map(|a| a.s());
    let letters: Vec<u8> = equation
        .into_iter()
        .flatten()
        .copied()
        .filter(|c| *c != b' ')
        .collect();
    matches!(letters[..], [a, b',', b, b'-', b'>', c, d] if a != b && a == c && b == d)
}

fn binary(op: &str, a: Option<&Rc<Array>>, b: Option<&Rc<Array>>) -> Option<Option<Array>> {
    let (is_bool, of): (bool, fn(f64, f64) -> f64) = match op {
        "Add" => (false, |a, b| a + b),
        "Sub" => (false, |a, b| a - b),
        "Mul" => (false, |a, b| a * b),
        "Div" => (false, |a, b| a / b),
        "Pow" => (false, f64::powf),
        "Min" => (false, f64::min),
        "Max" => (false, f64::max),
        "Mod" => (false, |a, b| a - (a / b).floor() * b),
        "Equal" => (true, |a, b| f64::from(u8::from(a == b))),
        "Less" => (true, |a, b| f64::from(u8::from(a < b))),
        "LessOrEqual" => (true, |a, b| f64::from(u8::from(a <= b))),
        "Greater" => (true, |a, b| f64::from(u8::from(a > b))),
        "GreaterOrEqual" => (true, |a, b| f64::from(u8::from(a >= b))),
        "And" => (true, |a, b| f64::from(u8::from(a != 0.0 && b != 0.0))),
        "Or" => (true, |a, b| f64::from(u8::from(a != 0.0 || b != 0.0))),
        "Xor" => (true, |a, b| f64::from(u8::from((a != 0.0) != (b != 0.0)))),
        _ => return None,
    };
    let (Some(a), Some(b)) = (a, b) else {
        return Some(
            a.filter(|_| matches!(op, "Min" | "Max"))
                .map(|a| a.as_ref().clone()),
        );
    };
    if op == "Div" && a.kind == Kind::Int {
        if b.data.contains(&0.0) {
            return Some(None);
        }
        return Some(a.zip(b, Kind::Int, |a, b| (a / b).trunc()));
    }
    let kind = if is_bool { Kind::Bool } else { a.kind };
    Some(a.zip(b, kind, of))
}

type Unary = (Option<Kind>, fn(f64) -> f64);

fn unary(op: &str) -> Option<Unary> {
    Some(match op {
        "Neg" => (None, |x| -x),
        "Abs" => (None, f64::abs),
        "Sqrt" => (None, f64::sqrt),
        "Reciprocal" => (None, |x| 1.0 / x),
        "Exp" => (None, f64::exp),
        // As the f32 that a runtime would have: a logarithm may be rounded down next.
        "Log" => (None, |x| f64::from((x as f32).ln())),
        "Floor" => (None, f64::floor),
        "Ceil" => (None, f64::ceil),
        "Cos" => (None, f64::cos),
        "Sin" => (None, f64::sin),
        "Not" => (Some(Kind::Bool), |x| f64::from(u8::from(x == 0.0))),
        "IsNaN" => (Some(Kind::Bool), |x| f64::from(u8::from(x.is_nan()))),
        _ => return None,
    })
}

fn cast(x: &Array, to: i64) -> Option<Array> {
    let to = DataType::try_from(i32::try_from(to).ok()?).ok()?;
    Some(match to {
        DataType::Bool => x.map(Kind::Bool, |x| f64::from(u8::from(x != 0.0))),
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double => {
            x.map(Kind::Float, |x| x)
        }
        DataType::Int64 | DataType::Int32 | DataType::Uint8 | DataType::Int8 => {
            x.map(Kind::Int, f64::trunc)
        }
        _ => return None,
    })
}

/// What `Shape` or `Size` says of these axes.
pub(super) fn shape(node: &NodeProto, dims: &[usize]) -> Option<Array> {
    if node.op_type() == "Size" {
        let mut size = Array::ints([len_of(dims)? as i64]);
        size.dims.clear();
        return Some(size);
    }
    let rank = dims.len() as i64;
    let at = |i: i64| (if i < 0 { i + rank } else { i }).clamp(0, rank) as usize;
    let (start, end) = (
        at(int_attribute(node, "start", 0)),
        at(int_attribute(node, "end", rank)),
    );
    Some(Array::ints(
        dims.get(start..end)?.iter().map(|dim| *dim as i64),
    ))
}

fn constant_of_shape(node: &NodeProto, shape: &Array) -> Option<Array> {
    let dims = sizes(&shape.to_ints())?;
    let len = len_of(&dims)?;
    let Some(proto) = attribute(node, "value").and_then(|a| a.t.as_ref()) else {
        return Array::new(Kind::Float, dims, vec![0.0; len]);
    };
    let raw = proto.raw_data();
    let (kind, value) = match proto.data_type() {
        DataType::Float => {
            let value = raw.first_chunk().map(|x| f32::from_le_bytes(*x));
            (
                Kind::Float,
                f64::from(value.or(proto.float_data.first().copied())?),
            )
        }
        DataType::Int64 => {
            let value = raw.first_chunk().map(|x| i64::from_le_bytes(*x));
            (
                Kind::Int,
                value.or(proto.int64_data.first().copied())? as f64,
            )
        }
        DataType::Int32 => {
            let value = raw.first_chunk().map(|x| i32::from_le_bytes(*x));
            (
                Kind::Int,
                f64::from(value.or(proto.int32_data.first().copied())?),
            )
        }
        DataType::Bool => {
            let value = raw.first().map(|x| i32::from(*x));
            let value = value.or(proto.int32_data.first().copied())?;
            (Kind::Bool, f64::from(u8::from(value != 0)))
        }
        _ => return None,
    };
    Array::new(kind, dims, vec![value; len])
}

fn range(start: &Array, end: &Array, step: &Array) -> Option<Array> {
    let (first, end, step) = (start.scalar()?, end.scalar()?, step.scalar()?);
    let count = ((end - first) / step).ceil().max(0.0);
    if count.is_nan() || count > MAX_LEN as f64 {
        return None;
    }
    let data: Vec<f64> = (0..count as usize)
        .map(|i| first + i as f64 * step)
        .collect();
    Array::new(start.kind, vec![data.len()], data)
}

fn slice(node: &NodeProto, inputs: &Arrays) -> Option<Array> {
    let mut x = inputs.first()?.as_ref()?.as_ref().clone();
    for part in slices(node, inputs, &x.dims)? {
        x = x.slice(part.axis, part.start, part.step, part.count)?;
    }
    Some(x)
}

/// A part of an axis.
pub(super) struct Slice {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) step: i64,
    pub(super) count: usize,
}

/// What a `Slice` takes of axes of `dims`: by its inputs, or by its attributes, as before opset 10.
pub(super) fn slices(node: &NodeProto, inputs: &Arrays, dims: &[usize]) -> Option<Vec<Slice>> {
    let listed = |i: usize, name: &str| match inputs.get(i).and_then(Option::as_ref) {
        Some(array) => Some(array.to_ints()),
        None => attribute(node, name).map(|a| a.ints.clone()),
    };
    let (starts, ends) = (listed(1, "starts")?, listed(2, "ends")?);
    let all = || (0..starts.len() as i64).collect();
    let axes: Vec<i64> = listed(3, "axes").unwrap_or_else(all);
    let steps = listed(4, "steps").unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return None;
    }
    let mut slices = Vec::new();
    for (((start, end), at), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis(*at, dims.len())?;
        let extent = dims[axis] as i64;
        let from_end = |i: i64| if i < 0 { i.saturating_add(extent) } else { i };
        let (first, end) = match *step > 0 {
            true => (
                from_end(*start).clamp(0, extent),
                from_end(*end).clamp(0, extent),
            ),
            // Backwards, the end may lie before the first element.
            false => (
                from_end(*start).clamp(-1, extent - 1),
                if *end < -extent {
                    -1
                } else {
                    from_end(*end).clamp(-1, extent - 1)
                },
            ),
        };
        let count = match *step {
            0 => return None,
            step if step > 0 => (end - first + step - 1).max(0) / step,
            step => (first - end - step - 1).max(0) / -step,
        };
        slices.push(Slice {
            axis,
            start: first.max(0) as usize,
            step: *step,
            count: count as usize,
        });
    }
    Some(slices)
}

fn split(node: &NodeProto, x: &Array, sizes: Option<&Array>) -> Option<Vec<Array>> {
    let axis = axis(int_attribute(node, "axis", 0), x.dims.len())?;
    let mut start = 0;
    let parts = split_sizes(node, sizes, x.dims[axis])?
        .into_iter()
        .map(|size| {
            start += size;
            x.slice(axis, start - size, 1, size)
        });
    parts.collect()
}

/// The sizes that a `Split` cuts `extent` into.
pub(super) fn split_sizes(
    node: &NodeProto,
    given: Option<&Array>,
    extent: usize,
) -> Option<Vec<usize>> {
    let listed = given.map(Array::to_ints);
    let listed = listed.or_else(|| attribute(node, "split").map(|a| a.ints.clone()));
    let parts = node.output.len();
    let found = match listed {
        Some(listed) => sizes(&listed)?,
        None if parts > 0 && extent.is_multiple_of(parts) => vec![extent / parts; parts],
        None => return None,
    };
    let sum = found
        .iter()
        .try_fold(0_usize, |sum, size| sum.checked_add(*size));
    (sum == Some(extent) && found.len() == parts).then_some(found)
}

fn reduce(op: &str, node: &NodeProto, x: &Array, given: Option<&Rc<Array>>) -> Option<Array> {
    let rank = x.dims.len();
    let listed = axes(node, given);
    let axes: Option<Vec<usize>> = match &listed {
        Some(listed) => listed.iter().map(|at| axis(*at, rank)).collect(),
        None => Some((0..rank).collect()),
    };
    let (axes, keep) = (axes?, int_attribute(node, "keepdims", 1) != 0);
    match op {
        "ReduceSum" => x.reduce(&axes, keep, 0.0, |a, b| a + b),
        "ReduceProd" => x.reduce(&axes, keep, 1.0, |a, b| a * b),
        "ReduceMax" => x.reduce(&axes, keep, f64::NEG_INFINITY, f64::max),
        "ReduceMin" => x.reduce(&axes, keep, f64::INFINITY, f64::min),
        _ => {
            let count: usize = axes.iter().map(|axis| x.dims[*axis]).product();
            let sum = x.reduce(&axes, keep, 0.0, |a, b| a + b)?;
            Some(sum.map(x.kind, |x| x / count as f64))
        }
    }
}

fn trilu(x: &Array, k: f64, upper: bool) -> Option<Array> {
    let [.., rows, columns] = x.dims[..] else {
        return None;
    };
    let mut out = x.clone();
    for (i, x) in out.data.iter_mut().enumerate() {
        let (row, column) = (i / columns.max(1) % rows.max(1), i % columns.max(1));
        let above = column as f64 - row as f64;
        if (upper && above < k) || (!upper && above > k) {
            *x = 0.0;
        }
    }
    Some(out)
}

/// An axis that may count from the end.
pub(super) fn axis(at: i64, rank: usize) -> Option<usize> {
    super::array::wrap(at, rank)
}

/// The axes that a node names by its second input or by its attribute.
pub(super) fn axes(node: &NodeProto, given: Option<&Rc<Array>>) -> Option<Vec<i64>> {
    let listed = given.map(|array| array.to_ints());
    listed.or_else(|| attribute(node, "axes").map(|a| a.ints.clone()))
}

pub(super) fn perm(node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
    match attribute(node, "perm") {
        Some(perm) => {
            let perm: Option<Vec<usize>> = perm.ints.iter().map(|at| axis(*at, rank)).collect();
            let mut sorted = perm.clone()?;
            sorted.sort_unstable();
            sorted.iter().copied().eq(0..rank).then_some(perm?)
        }
        None => Some((0..rank).rev().collect()),
    }
}

fn sizes(values: &[i64]) -> Option<Vec<usize>> {
    values.iter().map(|x| usize::try_from(*x).ok()).collect()
}

/// The axes that `Reshape` makes of `dims`.
pub(super) fn target(dims: &[usize], shape: &[i64], allow_zero: bool) -> Option<Vec<usize>> {
    let len: usize = dims.iter().product();
    let mut target = Vec::new();
    let mut inferred = None;
    for (i, &size) in shape.iter().enumerate() {
        target.push(match size {
            0 if !allow_zero => *dims.get(i)?,
            -1 if inferred.is_none() => {
                inferred = Some(i);
                1
            }
            size => usize::try_from(size).ok()?,
        });
    }
    if let Some(i) = inferred {
        let others = target
            .iter()
            .try_fold(1_usize, |len, dim| len.checked_mul(*dim))?;
        target[i] = len.checked_div(others)?;
    }
    let made = target
        .iter()
        .try_fold(1_usize, |len, dim| len.checked_mul(*dim))?;
    (made == len).then_some(target)
}

pub(super) fn flattened(node: &NodeProto, dims: &[usize]) -> Option<Vec<usize>> {
    let at = int_attribute(node, "axis", 1);
    let at = if at < 0 { at + dims.len() as i64 } else { at };
    let (outer, inner) = dims.split_at_checked(usize::try_from(at).ok()?)?;
    Some(vec![outer.iter().product(), inner.iter().product()])
}

pub(super) fn unsqueezed(dims: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let rank = dims.len() + axes.len();
    let new: Option<Vec<usize>> = axes.iter().map(|at| axis(*at, rank)).collect();
    let new = new?;
    let mut old = dims.iter();
    (0..rank)
        .map(|i| {
            if new.contains(&i) {
                Some(1)
            } else {
                old.next().copied()
            }
        })
        .collect()
}

pub(super) fn squeezed(dims: &[usize], axes: Option<&[i64]>) -> Option<Vec<usize>> {
    let gone: Option<Vec<usize>> = match axes {
        Some(axes) => axes.iter().map(|at| axis(*at, dims.len())).collect(),
        None => Some((0..dims.len()).filter(|i| dims[*i] == 1).collect()),
    };
    let gone = gone?;
    if gone.iter().any(|i| dims[*i] != 1) {
        return None;
    }
    Some(
        (0..dims.len())
            .filter(|i| !gone.contains(i))
            .map(|i| dims[i])
            .collect(),
    )
}

//! What operators make of integers that are known.

use super::arithmetic::{
    calculate, clip, compare, each, fits_float, fold, interval, pairs, reduce, spread, sums,
};
use super::contents::Contents::{self, Exact, Within};
use super::contents::{MAX_EXACT, count_of};
use crate::proto::tensor_proto::DataType;
use crate::stated::Stated;
use crate::validate::shapes::node::Node;

/// Of the first output of `node`, which is `output`; `inputs` are the contents of its inputs.
///
/// Engines compute in 32 or 64 bits: nothing is known of what is outside 32.
pub(super) fn evaluate(
    node: &Node<'_>,
    inputs: &[Option<Contents>],
    output: &Stated,
) -> Option<Contents> {
    if !node.domain().is_empty() {
        return None;
    }
    let input = |i: usize| inputs.get(i).and_then(Option::as_ref);
    let count = count(output);
    match node.op_type() {
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Dropout" => {
            input(0).cloned()
        }
        // Of floats, only those that are integers are known.
        "Floor" | "Ceil" | "Round" => input(0).cloned(),
        "Cast" => cast(node, input(0)),
        "Transpose" if node.rank(0).is_some_and(|rank| rank < 2) => input(0).cloned(),
        "Transpose" | "GatherElements" | "GatherND" | "ReverseSequence" | "TopK" | "Compress"
        | "ReduceMean" => input(0)?.loose(),
        "Trilu" | "EyeLike" => input(0)?.loose()?.or(&Within(0, 1)),
        "Shape" => shape(node),
        "Size" => Some(Exact(vec![count_of(&node.dims(0)?)?])),
        "ConstantOfShape" => Some(Contents::repeated(node.fill_value()?, count)),
        "Range" => range(inputs, count),
        "Gather" => gather(node, input(0)?, input(1)),
        "Slice" => slice(node, input(0)?),
        "Concat" => concat(node, inputs),
        "Expand" | "Tile" => {
            let (least, most) = input(0)?.bounds()?;
            match least == most {
                true => Some(Contents::repeated(least, count)),
                false => Some(Within(least, most)),
            }
        }
        "Split" => input(0)?.loose(),
        "Where" => choose(input(0), input(1)?, input(2)?, count),
        "ScatterElements" | "ScatterND" | "Scatter" if node.attribute("reduction").is_none() => {
            input(0)?.or(input(2)?)?.loose()
        }
        "Pad" => match node.has(2) {
            true => input(0)?.or(input(2)?)?.loose(),
            false => input(0)?.or(&Within(0, 0))?.loose(),
        },
        "OneHot" => input(2)?.loose(),
        "Min" => fold(
            inputs,
            count,
            |a, b| Some(a.min(b)),
            |a, b| (a.0.min(b.0), a.1.min(b.1)),
        ),
        "Max" => fold(
            inputs,
            count,
            |a, b| Some(a.max(b)),
            |a, b| (a.0.max(b.0), a.1.max(b.1)),
        ),
        "Clip" => clip(input(0), input(1), input(2)),
        "Relu" => each(
            input(0)?,
            |x| Some(x.max(0)),
            |a| Some((a.0.max(0), a.1.max(0))),
        ),
        "Abs" => each(
            input(0)?,
            |x| x.checked_abs(),
            |a| {
                let most = a.0.checked_abs()?.max(a.1.checked_abs()?);
                Some((0, most))
            },
        ),
        "Neg" => each(input(0)?, i64::checked_neg, |a| {
            Some((a.1.checked_neg()?, a.0.checked_neg()?))
        }),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" => {
            let float = node.is_float(0);
            let op = node.op_type();
            let all = pairs(
                input(0)?,
                input(1)?,
                count,
                |a, b| calculate(op, a, b, float),
                |a, b| interval(op, a, b, float),
            )?;
            let (least, most) = all.bounds()?;
            let exact = !float || (fits_float(least).is_some() && fits_float(most).is_some());
            exact.then_some(all)
        }
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => {
            let op = node.op_type();
            let known = match (input(0), input(1)) {
                (Some(a), Some(b)) => pairs(a, b, count, |a, b| compare(op, a, b), |_, _| None),
                _ => None,
            };
            Some(known.unwrap_or(Within(0, 1)))
        }
        "Not" => match input(0) {
            Some(Exact(values)) => {
                Contents::of(values.iter().map(|x| i64::from(*x == 0)).collect())
            }
            _ => Some(Within(0, 1)),
        },
        "IsNaN" | "IsInf" => Some(Within(0, 1)),
        "ReduceMax" | "ReduceMin" | "ReduceSum" | "ReduceProd" => reduce(node, input(0)?, count),
        "CumSum" => {
            let (least, most) = input(0)?.bounds()?;
            sums((least, most), count_of(&node.dims(0)?)?)
        }
        "ArgMax" | "ArgMin" => Some(Within(0, count_of(&node.dims(0)?)?)),
        "NonZero" => Some(Within(0, longest(&node.dims(0)?)?)),
        _ => None,
    }
}

/// Number of values, where every axis is known.
fn count(stated: &Stated) -> Option<usize> {
    usize::try_from(count_of(stated.dims.as_ref()?)?).ok()
}

fn longest(dims: &[Option<i64>]) -> Option<i64> {
    dims.iter()
        .try_fold(0i64, |most, dim| Some(most.max((*dim)?)))
}

/// What is outside of the type that it is made is unknown: engines don't agree there.
fn cast(node: &Node<'_>, input: Option<&Contents>) -> Option<Contents> {
    let within = |least: i64, most: i64| {
        let input = input?;
        let bounds = input.bounds()?;
        (least <= bounds.0 && bounds.1 <= most).then(|| input.clone())
    };
    match node.type_of("to")? {
        DataType::Bool => match input {
            Some(Exact(values)) => {
                Contents::of(values.iter().map(|x| i64::from(*x != 0)).collect())
            }
            _ => Some(Within(0, 1)),
        },
        DataType::Int32 | DataType::Int64 => within(i32::MIN.into(), i32::MAX.into()),
        DataType::Float | DataType::Double => within(-(1 << 24), 1 << 24),
        _ => within(0, i8::MAX.into()),
    }
}

fn shape(node: &Node<'_>) -> Option<Contents> {
    let dims: Vec<i64> = node.dims(0)?.into_iter().collect::<Option<_>>()?;
    let rank = i64::try_from(dims.len()).ok()?;
    let at = |i: i64| usize::try_from(if i < 0 { i + rank } else { i }.clamp(0, rank)).ok();
    let (start, end) = (at(node.int_or("start", 0))?, at(node.int_or("end", rank))?);
    Some(Exact(dims.get(start..end).unwrap_or_default().to_vec()))
}

fn range(inputs: &[Option<Contents>], count: Option<usize>) -> Option<Contents> {
    let bounds = |i: usize| inputs.get(i)?.as_ref()?.bounds();
    let (start, limit, delta) = (bounds(0)?, bounds(1)?, bounds(2)?);
    let exact = start.0 == start.1 && limit.0 == limit.1 && delta.0 == delta.1;
    if let (true, Some(count @ ..=MAX_EXACT)) = (exact, count) {
        let values = (0..count as i64).map(|i| start.0.checked_add(i.checked_mul(delta.0)?));
        return Some(Exact(values.collect::<Option<_>>()?));
    }
    Some(Within(start.0.min(limit.0), start.1.max(limit.1)))
}

fn gather(node: &Node<'_>, data: &Contents, indices: Option<&Contents>) -> Option<Contents> {
    if let (Exact(values), Some(Exact(indices)), Some(1)) = (data, indices, node.rank(0)) {
        let len = i64::try_from(values.len()).ok()?;
        let picked = indices.iter().map(|&i| {
            let i = usize::try_from(if i < 0 { i + len } else { i }).ok()?;
            values.get(i).copied()
        });
        return Some(Exact(picked.collect::<Option<_>>()?));
    }
    data.loose()
}

fn slice(node: &Node<'_>, data: &Contents) -> Option<Contents> {
    let one = |i: usize, attribute: &str, default: i64| match node.ints_of(i, attribute)?.as_slice()
    {
        [] => Some(default),
        &[value] => Some(value),
        _ => None,
    };
    let exact = || {
        let values = data.exact().filter(|_| node.rank(0) == Some(1))?;
        let len = i64::try_from(values.len()).ok()?;
        let (start, end) = (one(1, "starts", 0)?, one(2, "ends", len)?);
        one(4, "steps", 1).filter(|step| *step == 1)?;
        let at =
            |i: i64| usize::try_from(if i < 0 { i.saturating_add(len) } else { i }.clamp(0, len));
        let (start, end) = (at(start).ok()?, at(end).ok()?);
        Some(Exact(values.get(start..end).unwrap_or_default().to_vec()))
    };
    exact().or_else(|| data.loose())
}

fn concat(node: &Node<'_>, inputs: &[Option<Contents>]) -> Option<Contents> {
    let mut all: Option<Contents> = None;
    for (i, input) in inputs.iter().enumerate() {
        let input = input.as_ref()?;
        all = Some(match (all, input) {
            (None, first) => first.clone(),
            (Some(Exact(mut values)), Exact(more)) if node.rank(i) == Some(1) => {
                values.extend(more);
                Exact(values)
            }
            (Some(before), more) => before.or(more)?.loose()?,
        });
    }
    match all? {
        Exact(values) => Contents::of(values),
        within => Some(within),
    }
}

fn choose(
    condition: Option<&Contents>,
    yes: &Contents,
    no: &Contents,
    count: Option<usize>,
) -> Option<Contents> {
    let exact = || {
        let count = count.filter(|count| *count <= MAX_EXACT)?;
        let at = |of: &Contents, i: usize| spread(of.exact()?, i, count);
        let chosen = (0..count).map(|i| match at(condition?, i)? {
            0 => at(no, i),
            _ => at(yes, i),
        });
        Some(Exact(chosen.collect::<Option<_>>()?))
    };
    exact().or_else(|| yes.or(no)?.loose())
}

//! Arithmetic of [`Contents`]: exact where each integer is known, else of the bounds.

use super::contents::Contents::{self, Exact, Within};
use super::contents::{MAX_EXACT, count_of};
use crate::validate::shapes::node::Node;

/// Whether 32 bits hold it.
pub(super) fn fits(x: i64) -> Option<i64> {
    i32::try_from(x).is_ok().then_some(x)
}

/// Whether an f32 holds it, and all integers nearer to 0.
pub(super) fn fits_float(x: i64) -> Option<i64> {
    const MOST: i64 = 1 << 24;
    (-MOST..=MOST).contains(&x).then_some(x)
}

/// Value `i` of `count` that `values` are repeated to, if each is, or the only one.
pub(super) fn spread(values: &[i64], i: usize, count: usize) -> Option<i64> {
    match values {
        &[only] => Some(only),
        _ if values.len() == count => values.get(i).copied(),
        _ => None,
    }
}
pub(super) fn each(
    input: &Contents,
    exact: impl Fn(i64) -> Option<i64>,
    bounds: impl Fn((i64, i64)) -> Option<(i64, i64)>,
) -> Option<Contents> {
    match input {
        Exact(values) => {
            let values = values.iter().map(|&x| fits(exact(fits(x)?)?));
            Some(Exact(values.collect::<Option<_>>()?))
        }
        &Within(least, most) => {
            let (least, most) = bounds((fits(least)?, fits(most)?))?;
            Some(Within(fits(least)?, fits(most)?))
        }
    }
}

pub(super) fn pairs(
    a: &Contents,
    b: &Contents,
    count: Option<usize>,
    exact: impl Fn(i64, i64) -> Option<i64>,
    bounds: impl Fn((i64, i64), (i64, i64)) -> Option<(i64, i64)>,
) -> Option<Contents> {
    if let (Exact(a), Exact(b), Some(count @ ..=MAX_EXACT)) = (a, b, count) {
        let both = (0..count).map(|i| {
            let (a, b) = (spread(a, i, count)?, spread(b, i, count)?);
            fits(exact(fits(a)?, fits(b)?)?)
        });
        if let Some(values) = both.collect::<Option<_>>() {
            return Some(Exact(values));
        }
    }
    let (a, b) = (a.bounds()?, b.bounds()?);
    for bound in [a.0, a.1, b.0, b.1] {
        fits(bound)?;
    }
    let (least, most) = bounds(a, b)?;
    Some(Within(fits(least)?, fits(most)?))
}

pub(super) fn fold(
    inputs: &[Option<Contents>],
    count: Option<usize>,
    exact: impl Fn(i64, i64) -> Option<i64>,
    bounds: impl Fn((i64, i64), (i64, i64)) -> (i64, i64),
) -> Option<Contents> {
    let mut inputs = inputs.iter();
    let mut all = inputs.next()?.clone()?;
    for input in inputs {
        all = pairs(&all, input.as_ref()?, count, &exact, |a, b| {
            Some(bounds(a, b))
        })?;
    }
    Some(all)
}

pub(super) fn clip(
    input: Option<&Contents>,
    least: Option<&Contents>,
    most: Option<&Contents>,
) -> Option<Contents> {
    let (least, most) = (
        least.and_then(Contents::bounds),
        most.and_then(Contents::bounds),
    );
    let input = input.and_then(Contents::bounds);
    let low = least
        .map(|bounds| bounds.0)
        .into_iter()
        .chain(input.map(|bounds| bounds.0))
        .max()?;
    let high = most
        .map(|bounds| bounds.1)
        .into_iter()
        .chain(input.map(|bounds| bounds.1))
        .min()?;
    // Where they cross, either may be what comes out.
    Some(Within(low.min(high), high.max(low)))
}

pub(super) fn calculate(op: &str, a: i64, b: i64, float: bool) -> Option<i64> {
    match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" if b != 0 && (!float || a % b == 0) => a.checked_div(b),
        // Languages disagree about signs.
        "Mod" if a >= 0 && b > 0 => Some(a % b),
        _ => None,
    }
}

pub(super) fn interval(op: &str, a: (i64, i64), b: (i64, i64), float: bool) -> Option<(i64, i64)> {
    let corners = |of: fn(i64, i64) -> Option<i64>| {
        let all = [of(a.0, b.0)?, of(a.0, b.1)?, of(a.1, b.0)?, of(a.1, b.1)?];
        Some((*all.iter().min()?, *all.iter().max()?))
    };
    match op {
        "Add" => Some((a.0.checked_add(b.0)?, a.1.checked_add(b.1)?)),
        "Sub" => Some((a.0.checked_sub(b.1)?, a.1.checked_sub(b.0)?)),
        "Mul" => corners(i64::checked_mul),
        // Floats may lie between two integers.
        "Div" if b.0 > 0 => {
            let (least, most) = corners(i64::checked_div)?;
            let between = i64::from(float);
            Some((least - between, most + between))
        }
        "Mod" if a.0 >= 0 && b.0 > 0 => Some((0, a.1.min(b.1 - i64::from(!float)))),
        _ => None,
    }
}

pub(super) fn compare(op: &str, a: i64, b: i64) -> Option<i64> {
    Some(i64::from(match op {
        "Equal" => a == b,
        "Less" => a < b,
        "LessOrEqual" => a <= b,
        "Greater" => a > b,
        "GreaterOrEqual" => a >= b,
        "And" => a != 0 && b != 0,
        "Or" => a != 0 || b != 0,
        "Xor" => (a != 0) != (b != 0),
        _ => return None,
    }))
}

pub(super) fn reduce(node: &Node<'_>, input: &Contents, count: Option<usize>) -> Option<Contents> {
    let one = count == Some(1);
    let values = input.exact().filter(|_| one);
    match (node.op_type(), values) {
        ("ReduceMax", Some(values)) => Some(Exact(vec![*values.iter().max()?])),
        ("ReduceMin", Some(values)) => Some(Exact(vec![*values.iter().min()?])),
        ("ReduceSum", Some(values)) => {
            let sum = values
                .iter()
                .try_fold(0i64, |sum, &x| fits(sum.checked_add(fits(x)?)?))?;
            Some(Exact(vec![sum]))
        }
        ("ReduceProd", Some(values)) => {
            let all = values
                .iter()
                .try_fold(1i64, |all, &x| fits(all.checked_mul(fits(x)?)?))?;
            Some(Exact(vec![all]))
        }
        ("ReduceMax" | "ReduceMin", None) => input.loose(),
        ("ReduceSum", None) => sums(input.bounds()?, count_of(&node.dims(0)?)?),
        _ => None,
    }
}

/// Sums of up to `count` values.
pub(super) fn sums(bounds: (i64, i64), count: i64) -> Option<Contents> {
    let least = bounds.0.min(0).checked_mul(count)?;
    let most = bounds.1.max(0).checked_mul(count)?;
    Some(Within(fits(least)?, fits(most)?))
}

//! Which heads of which linear layer a value is, however it was moved.

use akidb_onnx::Error;

use super::expr::{Expr, Id, Normed, norm, refused};
use super::sample::Sample;
use super::tracer::Tracer;
use super::view::{Run, View};
use crate::rotary::Rotary;
use crate::transformer::Norm;
use crate::weights::Linear;

/// Most steps from a value to its linear layer.
const MAX_STEPS: usize = 64;

/// What makes queries, keys or values.
pub(super) struct Heads {
    pub(super) linear: Linear,
    /// What the layer takes.
    pub(super) input: Id,
    pub(super) heads: usize,
    /// How often each is repeated.
    pub(super) repeats: usize,
    pub(super) head_dim: usize,
    pub(super) norm: Option<Norm>,
    pub(super) rotary: Option<Rotary>,
    pub(super) factor: f64,
}

/// The linear layer whose outputs `view` has as `[batch, heads, seq, head_dim]`, or with batch and
/// heads as one axis, and what happens to them on the way.
pub(super) fn heads(tracer: &Tracer<'_>, (id, view): &(Id, View)) -> Result<Heads, Error> {
    let refuse = || refused("queries, keys or values are no heads of a linear layer");
    let (mut id, mut view) = (*id, view.clone());
    let (mut factor, mut norm_of, mut rotary): (f64, Option<(Id, &Normed)>, _) = (1.0, None, None);
    for _ in 0..MAX_STEPS {
        match tracer.expr(id) {
            Expr::View { x, view: inner } => {
                view = view.of(inner).ok_or_else(refuse)?;
                id = *x;
            }
            Expr::Stacked { parts, axis } => {
                (id, view) = picked(tracer, id, &view, parts, *axis).ok_or_else(refuse)?;
            }
            Expr::Scaled { x, factor: more } if norm_of.is_none() => {
                factor *= more;
                id = *x;
            }
            Expr::Turned { x, rotary: by, .. } if norm_of.is_none() && rotary.is_none() => {
                rotary = Some((id, *by));
                id = *x;
            }
            Expr::Normed(normed) if norm_of.is_none() => {
                norm_of = Some((id, normed));
                id = normed.x;
            }
            Expr::Linear { x, linear } => {
                let found = outputs(tracer.sample, linear, *x, &view).ok_or_else(refuse)??;
                let head_dim = found.head_dim;
                let own_axes = |id: Id| axes_in_linear(tracer, id, linear.out_features());
                if let Some((id, by)) = &rotary {
                    let Expr::Turned { axis, .. } = *tracer.expr(*id) else {
                        return Err(refuse());
                    };
                    let by_position = Run {
                        size: tracer.sample.tokens,
                        stride: linear.out_features(),
                    };
                    let axes = own_axes(*id).ok_or_else(refuse)?;
                    let is_whole = by.width == head_dim
                        && axes.runs(axis..axis + 1) == [by_position]
                        && is_last_axis(&axes, head_dim);
                    if !is_whole {
                        return Err(refused("heads are turned in part"));
                    }
                }
                if let Some((id, _)) = &norm_of
                    && !own_axes(*id).is_some_and(|axes| is_last_axis(&axes, head_dim))
                {
                    return Err(refused("something else than a head is normed"));
                }
                return Ok(Heads {
                    norm: norm_of.map(|(_, normed)| norm(normed)).transpose()?,
                    rotary: rotary.map(|(_, by)| by),
                    factor,
                    ..found
                });
            }
            _ => return Err(refuse()),
        }
    }
    Err(refuse())
}

/// Whether the last axis is the elements of a head.
fn is_last_axis(axes: &View, head_dim: usize) -> bool {
    let last = axes.axes.len().saturating_sub(1);
    let run = Run {
        size: head_dim,
        stride: 1,
    };
    axes.runs(last..last + 1) == [run]
}

/// The axes of an expression, as they lie in the outputs of the layer behind it.
fn axes_in_linear(tracer: &Tracer<'_>, id: Id, width: usize) -> Option<View> {
    let mut view = View::whole(tracer.dims(id));
    let mut id = id;
    for _ in 0..MAX_STEPS {
        match tracer.expr(id) {
            Expr::View { x, view: inner } => (id, view) = (*x, view.of(inner)?),
            Expr::Stacked { parts, axis } => {
                (id, view) = picked(tracer, id, &view, parts, *axis)?;
            }
            Expr::Scaled { x, .. } | Expr::Turned { x, .. } => id = *x,
            Expr::Normed(normed) => id = normed.x,
            Expr::Linear { linear, .. } => {
                return (linear.out_features() == width).then_some(view);
            }
            _ => return None,
        }
    }
    None
}

/// The one of several stacked values that a view looks at, and how.
fn picked(
    tracer: &Tracer<'_>,
    id: Id,
    view: &View,
    parts: &[(Id, View)],
    axis: usize,
) -> Option<(Id, View)> {
    let inner: usize = tracer.dims(id).get(axis + 1..)?.iter().product();
    let all = inner.checked_mul(parts.len())?;
    let (id, part) = parts.get(view.offset / inner % parts.len())?;
    let mut within = view.clone();
    within.offset = view.offset / all * inner + view.offset % inner;
    for run in within.axes.iter_mut().flatten() {
        if run.size == 1 || run.stride * run.size <= inner {
            continue;
        }
        if !run.stride.is_multiple_of(all) {
            return None;
        }
        run.stride = run.stride / all * inner;
    }
    Some((*id, within.of(part)?))
}

/// The heads that `view` has of a layer's outputs; `None` when they are no heads.
fn outputs(
    Sample { texts, tokens }: Sample,
    linear: &Linear,
    input: Id,
    view: &View,
) -> Option<Result<Heads, Error>> {
    let (rank, width) = (view.axes.len(), linear.out_features());
    let run = |size: usize, stride: usize| Run { size, stride };
    let (batch, last) = (run(texts, tokens * width), rank.checked_sub(2)?);
    let [
        Run {
            size: head_dim,
            stride: 1,
        },
    ] = view.runs(last + 1..rank)[..]
    else {
        return None;
    };
    if view.runs(last..last + 1) != [run(tokens, width)] {
        return None;
    }
    let [first, by_head @ ..] = &view.runs(0..last)[..] else {
        return None;
    };
    let (heads, repeats) = match *by_head {
        _ if *first != batch => return None,
        [] => (1, 1),
        [Run { size, stride: 0 }] => (1, size),
        [Run { size, stride }] if stride == head_dim => (size, 1),
        [
            Run { size, stride },
            Run {
                size: repeats,
                stride: 0,
            },
        ] if stride == head_dim => (size, repeats),
        _ => return None,
    };
    let end = view.offset.checked_add(heads.checked_mul(head_dim)?)?;
    Some(linear.outputs(view.offset..end).map(|linear| Heads {
        linear,
        input,
        heads,
        repeats,
        head_dim,
        norm: None,
        rotary: None,
        factor: 1.0,
    }))
}

/// The linear layer that an expression is all outputs of, or neighbouring ones, and what it takes.
pub(super) fn linear_of(tracer: &Tracer<'_>, id: Id) -> Result<(Linear, Id), Error> {
    match tracer.expr(id) {
        Expr::Linear { x, linear } => return Ok((linear.clone(), *x)),
        Expr::View { x, view } => {
            if let Expr::Linear { x: input, linear } = tracer.expr(*x) {
                let (rank, width) = (view.axes.len(), linear.out_features());
                let rows = tracer.sample.texts * tracer.sample.tokens;
                let rows = Run {
                    size: rows,
                    stride: width,
                };
                if let [Run { size, stride: 1 }] = view.runs(rank.saturating_sub(1)..rank)[..]
                    && view.runs(0..rank.saturating_sub(1)) == [rows]
                    && view.offset + size <= width
                {
                    let linear = linear.outputs(view.offset..view.offset + size)?;
                    return Ok((linear, *input));
                }
            }
        }
        _ => {}
    }
    Err(refused("outputs of a linear layer are expected"))
}

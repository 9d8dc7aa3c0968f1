//! Operators that move elements and change none.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::array::{Array, wrap};
use super::expr::{Expr, Value};
use super::known;
use super::tracer::Tracer;
use super::view::View;
use crate::graph::walk::{int_attribute, unknown};

/// The outputs of a node whose first input is a part of an expression.
pub(super) fn apply<'m>(
    tracer: &mut Tracer<'m>,
    node: &'m NodeProto,
    inputs: &[Option<Value>],
) -> Result<Vec<Value>, Error> {
    let refused = || unknown(node, "it moves elements of the model in no known way");
    if node.op_type() == "Concat" {
        let joined = joined(tracer, node, inputs).ok_or_else(refused)?;
        return Ok(vec![joined]);
    }
    let Some(Some(Value::Part(id, view))) = inputs.first() else {
        return Err(refused());
    };
    let known = inputs
        .iter()
        .map(|value| match value {
            Some(Value::Part(..)) | None => Ok(None),
            Some(value) => tracer.known(value),
        })
        .collect::<Result<Vec<Option<Rc<Array>>>, Error>>()?;
    let Some(views) = moved(node, view, &known) else {
        let (id, view) = (*id, view.clone());
        let selected = tracer.last_tokens(node, id, &view, known);
        return Ok(vec![selected.ok_or_else(refused)?]);
    };
    Ok(views
        .into_iter()
        .map(|view| Value::Part(*id, view))
        .collect())
}

/// What a `Concat` makes: the only one that isn't empty, heads whose halves are swapped, or a stack.
fn joined(tracer: &mut Tracer<'_>, node: &NodeProto, inputs: &[Option<Value>]) -> Option<Value> {
    let mut parts = Vec::new();
    for input in inputs {
        match input.as_ref()? {
            Value::Part(id, view) => parts.push((*id, view.clone())),
            // No tokens before these.
            Value::Known(array) if array.data.is_empty() => {}
            _ => return None,
        }
    }
    if let [(id, view)] = &parts[..] {
        return Some(Value::Part(*id, view.clone()));
    }
    let dims = parts.first()?.1.dims();
    let axis = known::axis(int_attribute(node, "axis", 0), dims.len())?;
    if let Some(turned) = tracer.half_turned(&parts, axis) {
        return Some(turned);
    }
    let one_each = dims[axis] == 1 && parts.iter().all(|(_, view)| view.dims() == dims);
    let dims = [&dims[..axis], &[parts.len()], &dims[axis + 1..]].concat();
    one_each.then(|| tracer.put(Expr::Stacked { parts, axis }, dims))
}

/// The views that a node makes of one.
fn moved(node: &NodeProto, view: &View, known: &[Option<Rc<Array>>]) -> Option<Vec<View>> {
    let dims = view.dims();
    let second = known.get(1).and_then(Option::as_ref);
    let view = match node.op_type() {
        "Identity" | "Cast" | "CastLike" | "Dropout" => view.clone(),
        "Reshape" => {
            let allow_zero = int_attribute(node, "allowzero", 0) != 0;
            view.reshape(&known::target(&dims, &second?.to_ints(), allow_zero)?)?
        }
        "Flatten" => view.reshape(&known::flattened(node, &dims)?)?,
        "Unsqueeze" => view.reshape(&known::unsqueezed(&dims, &known::axes(node, second)?)?)?,
        "Squeeze" => view.reshape(&known::squeezed(
            &dims,
            known::axes(node, second).as_deref(),
        )?)?,
        "Transpose" => view.transpose(&known::perm(node, dims.len())?)?,
        "Expand" => {
            let shape: Vec<i64> = second?.to_ints();
            let shape: Option<Vec<usize>> =
                shape.iter().map(|x| usize::try_from(*x).ok()).collect();
            view.expand(&super::array::broadcast(&dims, &shape?)?)?
        }
        "Slice" => {
            let mut view = view.clone();
            for part in known::slices(node, known, &dims)? {
                if part.step != 1 {
                    return None;
                }
                view = view.slice(part.axis, part.start, part.count)?;
            }
            view
        }
        "Split" => {
            let axis = known::axis(int_attribute(node, "axis", 0), dims.len())?;
            let sizes = known::split_sizes(node, second.map(Rc::as_ref), dims[axis])?;
            let mut start = 0;
            let parts = sizes.into_iter().map(|size| {
                start += size;
                view.slice(axis, start - size, size)
            });
            return parts.collect();
        }
        "Gather" => {
            let axis = known::axis(int_attribute(node, "axis", 0), dims.len())?;
            let index = second?;
            let at = wrap(index.scalar()? as i64, dims[axis])?;
            let one = view.slice(axis, at, 1)?;
            let kept = [&dims[..axis], &index.dims, &dims[axis + 1..]].concat();
            one.reshape(&kept)?
        }
        _ => return None,
    };
    Some(vec![view; node.output.len()])
}

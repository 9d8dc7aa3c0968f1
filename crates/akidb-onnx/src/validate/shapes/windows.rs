//! Operators that slide a window over axes, or stretch these.

use super::node::Node;
use super::{Dims, Inferred, value};
use crate::proto::tensor_proto::DataType;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    let elem_type = node.elem_type(0);
    let one = |dims: Option<Dims>| Ok(vec![value(elem_type, dims)]);
    Some(match node.op_type() {
        "Conv" => one(convolved(node, node.dims(1), node.dims(1))),
        "ConvInteger" => Ok(vec![value(
            Some(DataType::Int32),
            convolved(node, node.dims(1), node.dims(1)),
        )]),
        "ConvTranspose" => one(transposed(node)),
        "MaxPool" | "AveragePool" | "LpPool" => {
            let dims = convolved(node, None, None);
            Ok(vec![
                value(elem_type, dims.clone()),
                value(Some(DataType::Int64), dims),
            ])
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            one(node.dims(0).map(|mut dims| {
                dims.iter_mut().skip(2).for_each(|dim| *dim = Some(1));
                dims
            }))
        }
        "Resize" | "Upsample" => one(resized(node)),
        "DepthToSpace" => one(moved(node, true)),
        "SpaceToDepth" => one(moved(node, false)),
        "GridSample" => one(grid_sample(node)),
        _ => return None,
    })
}

/// A list of one number an axis, which may be left out.
fn list(node: &Node<'_>, attribute: &str, default: i64, axes: usize) -> Option<Vec<i64>> {
    match node.attribute(attribute) {
        Some(attribute) => (attribute.ints.len() == axes).then(|| attribute.ints.clone()),
        None => Some(vec![default; axes]),
    }
}

/// `[batch, channels, …]`: channels of `weight`, axes by its window, or by `kernel_shape`.
fn convolved(node: &Node<'_>, weight: Option<Dims>, window: Option<Dims>) -> Option<Dims> {
    let dims = node.dims(0)?;
    let axes = dims.len().checked_sub(2)?;
    let kernel = match node.attribute("kernel_shape") {
        Some(_) => list(node, "kernel_shape", 1, axes)?,
        None => window?.into_iter().skip(2).collect::<Option<Vec<i64>>>()?,
    };
    let strides = list(node, "strides", 1, axes)?;
    let dilations = list(node, "dilations", 1, axes)?;
    let pads = list(node, "pads", 0, 2 * axes)?;
    let same = matches!(node.text("auto_pad"), Some("SAME_UPPER" | "SAME_LOWER"));
    let valid = node.text("auto_pad") == Some("VALID");
    let ceil = node.int_or("ceil_mode", 0) != 0;
    let mut out = vec![dims[0]];
    out.push(match (node.op_type(), weight) {
        ("Conv" | "ConvInteger", weight) => *weight?.first()?,
        _ => dims[1],
    });
    for axis in 0..axes {
        let (len, stride) = (dims[axis + 2]?, strides[axis].max(1));
        let pad = match valid {
            true => 0,
            false => pads[axis].saturating_add(pads[axis + axes]),
        };
        let window = kernel
            .get(axis)?
            .saturating_sub(1)
            .saturating_mul(dilations[axis]);
        let room = len
            .saturating_add(pad)
            .saturating_sub(window)
            .saturating_sub(1);
        out.push(Some(match (same, ceil) {
            (true, _) => len.saturating_add(stride - 1) / stride,
            (_, true) => (room.saturating_add(stride - 1) / stride)
                .saturating_add(1)
                .max(0),
            _ => (room.div_euclid(stride)).saturating_add(1).max(0),
        }));
    }
    Some(out)
}

fn transposed(node: &Node<'_>) -> Option<Dims> {
    let (dims, weight) = (node.dims(0)?, node.dims(1)?);
    let axes = dims.len().checked_sub(2)?;
    let kernel = list(node, "kernel_shape", 0, axes)?;
    let strides = list(node, "strides", 1, axes)?;
    let dilations = list(node, "dilations", 1, axes)?;
    let extra = list(node, "output_padding", 0, axes)?;
    let mut out = vec![*dims.first()?];
    out.push(Some(
        (*weight.get(1)?)?.saturating_mul(node.int_or("group", 1)),
    ));
    for axis in 0..axes {
        let kernel = match kernel[axis] {
            0 => (*weight.get(axis + 2)?)?,
            kernel => kernel,
        };
        // Padding makes it shorter: this is the most.
        let window = kernel.saturating_sub(1).saturating_mul(dilations[axis]);
        let steps = dims[axis + 2]?
            .saturating_sub(1)
            .saturating_mul(strides[axis]);
        let len = steps
            .saturating_add(window)
            .saturating_add(extra[axis])
            .saturating_add(1);
        let stated = node.attribute("output_shape");
        let stated =
            stated.and_then(|stated| stated.ints.iter().rev().nth(axes - 1 - axis).copied());
        out.push(Some(len.max(stated.unwrap_or(0))));
    }
    Some(out)
}

/// By sizes, or by scales that are an attribute, as in old files.
fn resized(node: &Node<'_>) -> Option<Dims> {
    let dims = node.dims(0)?;
    if let Some(sizes) = node.ints(3).filter(|sizes| sizes.len() == dims.len()) {
        return Some(sizes.into_iter().map(Some).collect());
    }
    let scales = &node.attribute("scales")?.floats;
    let scaled = dims.iter().zip(scales).map(|(dim, scale)| {
        // What is beyond all integers becomes the largest.
        Some(((*dim)? as f64 * f64::from(*scale)).ceil() as i64)
    });
    (dims.len() == scales.len()).then(|| scaled.collect())
}

/// Blocks of an image to channels, or back.
fn moved(node: &Node<'_>, to_space: bool) -> Option<Dims> {
    let block = node.int("blocksize").filter(|block| *block > 0)?;
    let &[batch, channels, height, width] = node.dims(0)?.as_slice() else {
        return None;
    };
    let (grown, shrunk) = (
        |dim: Option<i64>, by: i64| dim.map(|dim| dim.saturating_mul(by)),
        |dim: Option<i64>, by: i64| dim.map(|dim| dim / by),
    );
    let square = block.saturating_mul(block);
    Some(match to_space {
        true => vec![
            batch,
            shrunk(channels, square),
            grown(height, block),
            grown(width, block),
        ],
        false => vec![
            batch,
            grown(channels, square),
            shrunk(height, block),
            shrunk(width, block),
        ],
    })
}

fn grid_sample(node: &Node<'_>) -> Option<Dims> {
    let (dims, grid) = (node.dims(0)?, node.dims(1)?);
    let (_, points) = grid.split_last()?;
    let mut out = dims.get(..2)?.to_vec();
    out.extend(points.get(1..)?);
    Some(out)
}

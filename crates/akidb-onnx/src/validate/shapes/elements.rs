//! Operators that work element by element, and reductions.

use super::node::Node;
use super::{Dims, Inferred, axis_of, same_type, shape, value};
use crate::proto::tensor_proto::DataType;
use crate::stated::Stated;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    Some(match node.op_type() {
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "Ceil" | "Celu"
        | "Clip" | "Cos" | "Cosh" | "CumSum" | "Elu" | "Erf" | "Exp" | "Floor" | "Gelu"
        | "HardSigmoid" | "HardSwish" | "Identity" | "LeakyRelu" | "Log" | "LogSoftmax"
        | "Mish" | "Neg" | "Reciprocal" | "Relu" | "Round" | "ScatterElements" | "ScatterND"
        | "Selu" | "Sigmoid" | "Sign" | "Sin" | "Sinh" | "Softmax" | "Softplus" | "Softsign"
        | "Sqrt" | "Swish" | "Tan" | "Tanh" | "Trilu" | "LpNormalization" | "Dropout"
        | "BitwiseNot" => Ok(vec![node.like(0)]),
        // Of two types, opsets and runtimes don't agree which one the output has.
        "LayerNormalization" => {
            let elem_type = node.elem_type(0);
            let elem_type = elem_type.filter(|_| elem_type == node.elem_type(1));
            Ok(vec![value(elem_type, node.dims(0))])
        }
        "Not" | "IsNaN" | "IsInf" => Ok(vec![value(Some(DataType::Bool), node.dims(0))]),
        "Cast" => Ok(vec![value(node.type_of("to"), node.dims(0))]),
        "RMSNormalization" | "SimplifiedLayerNormalization" => {
            Ok(vec![value(node.elem_type(1), node.dims(0))])
        }
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "And" | "Or" | "Xor" | "PRelu" | "BitwiseAnd"
        | "BitwiseOr" | "BitwiseXor" => pairwise(node, None),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => {
            pairwise(node, Some(DataType::Bool))
        }
        // The exponent may be of another type.
        "Pow" => broadcast_inputs(node, 0..2).map(|dims| vec![value(node.elem_type(0), dims)]),
        "Max" | "Min" | "Sum" | "Mean" => variadic(node),
        "Where" => same_type(node, 1, 2).and_then(|elem_type| {
            let dims = broadcast_inputs(node, 0..3)?;
            Ok(vec![value(elem_type, dims)])
        }),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            reduce(node)
        }
        "ArgMax" | "ArgMin" => arg(node),
        "DynamicQuantizeLinear" => Ok(vec![
            value(Some(DataType::Uint8), node.dims(0)),
            value(Some(DataType::Float), Some(vec![])),
            value(Some(DataType::Uint8), Some(vec![])),
        ]),
        "DequantizeLinear" => {
            let elem_type = match node.attribute("output_dtype") {
                Some(_) => None,
                None => node.elem_type(1),
            };
            Ok(vec![value(elem_type, node.dims(0))])
        }
        "QuantizeLinear" => {
            let elem_type = match node.attribute("output_dtype") {
                Some(_) => None,
                None if node.has(2) => node.elem_type(2),
                None => Some(DataType::Uint8),
            };
            Ok(vec![value(elem_type, node.dims(0))])
        }
        _ => return None,
    })
}

fn pairwise(node: &Node<'_>, result: Option<DataType>) -> Inferred {
    let elem_type = same_type(node, 0, 1)?;
    let dims = broadcast_inputs(node, 0..2)?;
    Ok(vec![value(result.or(elem_type), dims)])
}

fn variadic(node: &Node<'_>) -> Inferred {
    let mut elem_type = node.elem_type(0);
    for input in 1..node.inputs() {
        elem_type = elem_type.or(same_type(node, 0, input)?);
    }
    let dims = broadcast_inputs(node, 0..node.inputs())?;
    Ok(vec![value(elem_type, dims)])
}

/// The shape that all these inputs are repeated to; `None` when one's isn't known.
fn broadcast_inputs(
    node: &Node<'_>,
    inputs: std::ops::Range<usize>,
) -> Result<Option<Dims>, String> {
    let mut all = Vec::new();
    for input in inputs {
        match node.dims(input) {
            Some(dims) => all = broadcast(&all, &dims)?,
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// The shape that both are repeated to, axes aligned at the end (ONNX, Multidirectional
/// Broadcasting).
pub(super) fn broadcast(a: &[Option<i64>], b: &[Option<i64>]) -> Result<Dims, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Option<i64>], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(i) => dims.get(i).copied().flatten(),
        None => Some(1),
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (Some(1), other) | (other, Some(1)) => Ok(other),
            (Some(a), Some(b)) if a == b => Ok(Some(a)),
            (Some(_), Some(_)) => Err(format!(
                "shapes {} and {} can't be combined",
                shape(a),
                shape(b)
            )),
            // Any other length than 1 is the length of both.
            (Some(len), None) | (None, Some(len)) => Ok(Some(len)),
            (None, None) => Ok(None),
        })
        .collect()
}

fn reduce(node: &Node<'_>) -> Inferred {
    let keep = node.int_or("keepdims", 1) != 0;
    let dims = match (node.dims(0), node.ints_of(1, "axes")) {
        (Some(dims), Some(axes)) => {
            let nothing = axes.is_empty() && node.int_or("noop_with_empty_axes", 0) != 0;
            match nothing {
                true => Some(dims),
                false => Some(reduced(&dims, &axes, keep)?),
            }
        }
        (Some(dims), None) if keep => Some(vec![None; dims.len()]),
        _ => None,
    };
    Ok(vec![value(node.elem_type(0), dims)])
}

fn arg(node: &Node<'_>) -> Inferred {
    let keep = node.int_or("keepdims", 1) != 0;
    let axis = node.int_or("axis", 0);
    let dims = node.dims(0).map(|dims| reduced(&dims, &[axis], keep));
    Ok(vec![value(Some(DataType::Int64), dims.transpose()?)])
}

/// `dims` without these axes, or with their length 1. No axes are all.
fn reduced(dims: &[Option<i64>], axes: &[i64], keep: bool) -> Result<Dims, String> {
    let axes: Vec<usize> = match axes {
        [] => (0..dims.len()).collect(),
        axes => {
            let axes = axes.iter().map(|&axis| axis_of(axis, dims.len()));
            axes.collect::<Result<_, _>>()?
        }
    };
    let dims = dims.iter().enumerate();
    Ok(dims
        .filter_map(|(i, &dim)| match axes.contains(&i) {
            true => keep.then_some(Some(1)),
            false => Some(dim),
        })
        .collect())
}

/// What is known of an output of which only the type is.
pub(super) fn only_type(elem_type: Option<DataType>) -> Stated {
    value(elem_type, None)
}

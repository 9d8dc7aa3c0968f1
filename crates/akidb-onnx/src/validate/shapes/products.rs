//! Products of matrices.

use super::elements::broadcast;
use super::node::Node;
use super::{Dims, Inferred, same_type, shape, value};
use crate::proto::tensor_proto::DataType;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    Some(match node.op_type() {
        "MatMul" => same_type(node, 0, 1).and_then(|elem_type| {
            let dims = of_inputs(node)?;
            Ok(vec![value(elem_type, dims)])
        }),
        "MatMulInteger" => of_inputs(node).map(|dims| vec![value(Some(DataType::Int32), dims)]),
        "Gemm" => gemm(node),
        _ => return None,
    })
}

/// The shape of input 0 times input 1.
pub(super) fn of_inputs(node: &Node<'_>) -> Result<Option<Dims>, String> {
    match (node.dims(0), node.dims(1)) {
        (Some(a), Some(b)) => product(&a, &b).map(Some),
        _ => Ok(None),
    }
}

/// As `numpy.matmul`: a vector is a row on the left and a column on the right, and loses that axis.
fn product(a: &[Option<i64>], b: &[Option<i64>]) -> Result<Dims, String> {
    let refused = || format!("shapes {} and {} can't be multiplied", shape(a), shape(b));
    let (a_batch, a_rows, a_inner) = match a {
        [] => return Err(refused()),
        [inner] => (&[][..], None, *inner),
        [batch @ .., rows, inner] => (batch, Some(*rows), *inner),
    };
    let (b_batch, b_inner, columns) = match b {
        [] => return Err(refused()),
        [inner] => (&[][..], *inner, None),
        [batch @ .., inner, columns] => (batch, *inner, Some(*columns)),
    };
    if let (Some(a), Some(b)) = (a_inner, b_inner)
        && a != b
    {
        return Err(refused());
    }
    let mut dims = broadcast(a_batch, b_batch).map_err(|_| refused())?;
    dims.extend(a_rows);
    dims.extend(columns);
    Ok(dims)
}

fn gemm(node: &Node<'_>) -> Inferred {
    let elem_type = same_type(node, 0, 1)?;
    let turned = |input: usize, attribute: &str| match node.dims(input).as_deref() {
        Some(&[a, b]) if node.int_or(attribute, 0) != 0 => Ok(Some([b, a])),
        Some(&[a, b]) => Ok(Some([a, b])),
        Some(dims) => Err(format!(
            "{} has shape {}, not two axes",
            node.input_name(input),
            shape(dims)
        )),
        None => Ok(None),
    };
    let dims = match (turned(0, "transA")?, turned(1, "transB")?) {
        (Some(a), Some(b)) => Some(product(&a, &b)?),
        _ => None,
    };
    Ok(vec![value(elem_type, dims)])
}

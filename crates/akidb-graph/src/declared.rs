//! What a graph declares of a value.

use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{TypeProto, ValueInfoProto, type_proto};

pub(crate) fn tensor_type(declared: &Option<TypeProto>) -> Option<&type_proto::Tensor> {
    match declared.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

/// Its dimensions, where it is a tensor whose rank is declared.
pub(crate) fn shape(value: &ValueInfoProto) -> Option<&[Dimension]> {
    Some(&tensor_type(&value.r#type)?.shape.as_ref()?.dim)
}

/// A dimension that is a number.
pub(crate) fn fixed(dimension: &Dimension) -> Option<usize> {
    match dimension.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(size).ok(),
        _ => None,
    }
}

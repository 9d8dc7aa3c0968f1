//! Type and shape of a value as far as a file states them.

use crate::proto::tensor_proto::DataType;
use crate::proto::tensor_shape_proto::dimension;
use crate::proto::{TensorProto, ValueInfoProto, type_proto};

/// What a file states of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// Type of the elements, unless it is not said.
    pub elem_type: Option<DataType>,
    /// `None` for an axis of variable length.
    pub dims: Option<Vec<Option<i64>>>,
}

impl Stated {
    /// Of an input, an output or a value between nodes.
    pub fn of(value: &ValueInfoProto) -> Self {
        let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_ref().and_then(|t| t.value.as_ref())
        else {
            return Self::default();
        };
        let dims = tensor.shape.as_ref().map(|shape| {
            let dims = shape.dim.iter().map(|dim| match dim.value {
                Some(dimension::Value::DimValue(len)) => Some(len),
                _ => None,
            });
            dims.collect()
        });
        Self {
            elem_type: known(tensor.elem_type.unwrap_or(0)),
            dims,
        }
    }

    /// Of a constant.
    pub fn of_constant(tensor: &TensorProto) -> Self {
        Self {
            elem_type: known(tensor.data_type.unwrap_or(0)),
            dims: Some(tensor.dims.iter().copied().map(Some).collect()),
        }
    }
}

fn known(code: i32) -> Option<DataType> {
    DataType::try_from(code)
        .ok()
        .filter(|&elem_type| elem_type != DataType::Undefined)
}

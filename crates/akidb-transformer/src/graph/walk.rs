//! Going from a value back to what it is made of.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::weights::scales::ValueCheck;
use akidb_onnx::model::{OnnxModel, is_op, node_name};
use akidb_onnx::proto::tensor_proto::DataType as ProtoDataType;
use akidb_onnx::proto::{
    AttributeProto, NodeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, ErrorKind, shorten};

/// ONNX Runtime's own operators.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// Longest constant that is read as a list of integers, such as a shape.
const MAX_INTS: usize = 64;

/// Most casts in a row that are looked through; a long chain would be walked again and again.
const MAX_CASTS: usize = 8;

pub(super) struct Walk<'m> {
    pub(super) model: &'m OnnxModel,
    /// Each constant is read once, so that reading costs no more than the file holds.
    constants: RefCell<HashMap<&'m str, Tensor>>,
    /// Constants whose values were looked at, each once for a check.
    checked: RefCell<HashSet<(&'m str, ValueCheck)>>,
}

impl<'m> Walk<'m> {
    pub(super) fn new(model: &'m OnnxModel) -> Self {
        Self {
            model,
            constants: RefCell::default(),
            checked: RefCell::default(),
        }
    }

    /// The value that `value` is but for casts between float types.
    pub(super) fn uncast(&self, mut value: &'m str) -> &'m str {
        const FLOATS: [i64; 3] = [
            ProtoDataType::Float as i64,
            ProtoDataType::Float16 as i64,
            ProtoDataType::Bfloat16 as i64,
        ];
        for _ in 0..MAX_CASTS {
            let Some(node) = self.model.producer(value) else {
                break;
            };
            let to_float = || attribute(node, "to").is_some_and(|a| FLOATS.contains(&a.i()));
            match input(node, 0) {
                Some(before) if is_op(node, "", "Cast") && to_float() => value = before,
                _ => break,
            }
        }
        value
    }

    /// The node whose first output is `value`, casts aside.
    pub(super) fn node(&self, value: &'m str, wanted: &str) -> Result<&'m NodeProto, Error> {
        let value = self.uncast(value);
        match self.model.producer(value) {
            Some(node) if node.output.first().is_some_and(|out| out == value) => Ok(node),
            Some(node) => Err(unknown(
                node,
                format!("{wanted} is expected, not this output"),
            )),
            None => Err(self.not_a_node(value, wanted)),
        }
    }

    /// As [`Self::node`], and it must be operator `op_type` of `domain`.
    pub(super) fn op(
        &self,
        value: &'m str,
        domain: &str,
        op_type: &str,
        what_for: &str,
    ) -> Result<&'m NodeProto, Error> {
        let wanted = format!("{op_type} is expected here, for {what_for}");
        let node = self.node(value, &wanted)?;
        if is_op(node, domain, op_type) {
            Ok(node)
        } else {
            Err(unknown(node, wanted))
        }
    }

    /// As [`Self::op`], when the node may as well be another.
    pub(super) fn op_if(
        &self,
        value: &'m str,
        domain: &str,
        op_type: &str,
    ) -> Option<&'m NodeProto> {
        self.node(value, "")
            .ok()
            .filter(|node| is_op(node, domain, op_type))
    }

    fn not_a_node(&self, value: &str, wanted: &str) -> Error {
        let op_type = if self.model.is_input(value) {
            "graph input"
        } else {
            "initializer"
        };
        not_recognised(value, op_type, wanted)
    }

    /// The constant `value`, casts aside.
    pub(super) fn constant(&self, value: &'m str) -> Result<Option<Tensor>, Error> {
        let value = self.uncast(value);
        if let Some(tensor) = self.constants.borrow().get(value) {
            return Ok(Some(tensor.clone()));
        }
        let tensor = self.model.constant(value)?;
        if let Some(tensor) = &tensor {
            self.constants.borrow_mut().insert(value, tensor.clone());
        }
        Ok(tensor)
    }

    /// The constant that is input `index` of `node`.
    pub(super) fn need_constant(&self, node: &'m NodeProto, index: usize) -> Result<Tensor, Error> {
        let value = need_input(node, index)?;
        self.constant(value)?
            .ok_or_else(|| unknown(node, format!("{:?} is no constant", shorten(value))))
    }

    /// As [`Self::need_constant`], when the input is given.
    pub(super) fn constant_if_given(
        &self,
        node: &'m NodeProto,
        index: usize,
    ) -> Result<Option<Tensor>, Error> {
        let given = input(node, index);
        given.map(|_| self.need_constant(node, index)).transpose()
    }

    /// The float constant that is input `index` of `node`.
    pub(super) fn weight(&self, node: &'m NodeProto, index: usize) -> Result<Tensor, Error> {
        let tensor = self.need_constant(node, index)?;
        if tensor.dtype().is_float() {
            return Ok(tensor);
        }
        let value = shorten(need_input(node, index)?);
        let why = format!("{value:?} is {}, not a float", tensor.dtype());
        Err(unknown(node, why))
    }

    /// As [`Self::weight`], and all its values pass `check`.
    pub(super) fn scales(
        &self,
        node: &'m NodeProto,
        index: usize,
        check: ValueCheck,
    ) -> Result<Tensor, Error> {
        let tensor = self.weight(node, index)?;
        let key = (self.uncast(need_input(node, index)?), check);
        if !self.checked.borrow().contains(&key) {
            check.check(&tensor)?;
            self.checked.borrow_mut().insert(key);
        }
        Ok(tensor)
    }

    /// The short list of integers that is input `index` of `node`.
    pub(super) fn ints(&self, node: &'m NodeProto, index: usize) -> Result<Vec<i64>, Error> {
        let value = need_input(node, index)?;
        match self.constant(value)? {
            Some(tensor) if tensor.len() <= MAX_INTS && !tensor.dtype().is_float() => {
                tensor.to_i64_vec()
            }
            _ => Err(unknown(
                node,
                format!("{:?} is no constant list of integers", shorten(value)),
            )),
        }
    }
}

/// Input `index` of `node`, when it is given.
pub(super) fn input(node: &NodeProto, index: usize) -> Option<&str> {
    node.input
        .get(index)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
}

pub(super) fn need_input(node: &NodeProto, index: usize) -> Result<&str, Error> {
    input(node, index).ok_or_else(|| unknown(node, format!("input {index} is missing")))
}

/// The axes that an input or output is declared with, as far as they have a fixed length.
pub(super) fn fixed_dims(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    let fixed = |dim: &tensor_shape_proto::Dimension| match dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(len)) => usize::try_from(len).ok(),
        _ => None,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(fixed).collect())
}

pub(super) fn attribute<'m>(node: &'m NodeProto, name: &str) -> Option<&'m AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

/// Integer attribute `name`, or `default`.
pub(super) fn int_attribute(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, AttributeProto::i)
}

/// Refuses `node` unless its integer attribute `name` is `wanted`.
pub(super) fn expect_int(
    node: &NodeProto,
    name: &str,
    default: i64,
    wanted: i64,
) -> Result<(), Error> {
    match int_attribute(node, name, default) {
        value if value == wanted => Ok(()),
        value => Err(unknown(node, format!("{name} is {value}, not {wanted}"))),
    }
}

/// Refuses `node` when it has an attribute that is not among `known`: it may change what the node
/// computes.
pub(super) fn expect_attributes(node: &NodeProto, known: &[&str]) -> Result<(), Error> {
    let mut names = node.attribute.iter().map(AttributeProto::name);
    match names.find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let why = format!("attribute {:?} is not expected", shorten(name));
            Err(unknown(node, why))
        }
    }
}

/// Attribute `name`, which is a size.
///
/// # Errors
/// When it is missing or not positive.
pub(super) fn size_attribute(node: &NodeProto, name: &str) -> Result<usize, Error> {
    let value = int_attribute(node, name, 0);
    match usize::try_from(value) {
        Ok(size @ 1..) => Ok(size),
        _ => {
            let node = shorten(node_name(node));
            Err(Error::graph(format!("node {node:?}: {name} is {value}")))
        }
    }
}

/// `bits` of codes that ONNX Runtime's block quantizer writes.
pub(super) fn bits_of_codes(node: &NodeProto) -> Result<usize, Error> {
    match int_attribute(node, "bits", 4) {
        4 => Ok(4),
        8 => Ok(8),
        other => Err(unknown(node, format!("bits is {other}, not 4 or 8"))),
    }
}

/// The error for a node of a sound graph that this crate doesn't know what to make of.
pub(super) fn unknown(node: &NodeProto, why: impl Into<String>) -> Error {
    let op_type = match node.domain() {
        "" | "ai.onnx" => shorten(node.op_type()),
        domain => format!("{}.{}", shorten(domain), shorten(node.op_type())),
    };
    not_recognised(node_name(node), &op_type, why)
}

/// As [`unknown`], for something that is no node.
pub(super) fn not_recognised(name: &str, op_type: &str, why: impl Into<String>) -> Error {
    ErrorKind::NotRecognised {
        node: shorten(name),
        op_type: op_type.to_owned(),
        why: why.into(),
    }
    .into()
}

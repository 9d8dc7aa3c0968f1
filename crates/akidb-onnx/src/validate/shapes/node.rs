//! A node, with what is known of its inputs.

use std::collections::HashMap;

use super::Dims;
use crate::error::shorten;
use crate::model::OnnxModel;
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto};
use crate::stated::Stated;

/// Most values of a constant that is read for a shape.
const MAX_VALUES: usize = 64;

pub(super) struct Node<'a> {
    model: &'a OnnxModel,
    proto: &'a NodeProto,
    known: &'a HashMap<&'a str, Stated>,
}

impl<'a> Node<'a> {
    pub(super) fn new(
        model: &'a OnnxModel,
        proto: &'a NodeProto,
        known: &'a HashMap<&'a str, Stated>,
    ) -> Self {
        Self {
            model,
            proto,
            known,
        }
    }

    /// ONNX's own domain is `""`.
    pub(super) fn domain(&self) -> &'a str {
        match self.proto.domain() {
            "ai.onnx" => "",
            other => other,
        }
    }

    pub(super) fn op_type(&self) -> &'a str {
        self.proto.op_type()
    }

    /// True where the file itself says what the operator does.
    pub(super) fn is_function(&self) -> bool {
        let mut functions = self.model.proto().functions.iter();
        functions.any(|f| f.name() == self.op_type() && f.domain() == self.proto.domain())
    }

    pub(super) fn inputs(&self) -> usize {
        self.proto.input.len()
    }

    pub(super) fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    pub(super) fn has(&self, input: usize) -> bool {
        self.input(input).is_some()
    }

    fn input(&self, input: usize) -> Option<&'a str> {
        let name = self.proto.input.get(input)?;
        (!name.is_empty()).then_some(name)
    }

    /// For a message.
    pub(super) fn input_name(&self, input: usize) -> String {
        format!("{:?}", shorten(self.input(input).unwrap_or_default()))
    }

    fn stated(&self, input: usize) -> Option<&Stated> {
        self.known.get(self.input(input)?)
    }

    pub(super) fn elem_type(&self, input: usize) -> Option<DataType> {
        self.stated(input)?.elem_type
    }

    pub(super) fn dims(&self, input: usize) -> Option<Dims> {
        self.stated(input)?.dims.clone()
    }

    pub(super) fn rank(&self, input: usize) -> Option<usize> {
        Some(self.stated(input)?.dims.as_ref()?.len())
    }

    /// What is known of an input, for an output that is like it.
    pub(super) fn like(&self, input: usize) -> Stated {
        self.stated(input).cloned().unwrap_or_default()
    }

    /// The values of a constant input of integers, where they are few.
    pub(super) fn ints(&self, input: usize) -> Option<Vec<i64>> {
        let name = self.input(input)?;
        let proto = self.model.initializer_proto(name);
        if proto.is_some_and(|tensor| tensor.dims.iter().any(|&dim| dim > MAX_VALUES as i64)) {
            return None;
        }
        // A broken constant is another check's finding.
        let tensor = self.model.constant(name).ok()??;
        (tensor.len() <= MAX_VALUES)
            .then(|| tensor.to_i64_vec().ok())
            .flatten()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name() == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(AttributeProto::i)
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    /// A list that newer opsets have as an input and older ones as an attribute: `None` when it is
    /// given but not known, an empty list when it isn't given.
    pub(super) fn ints_of(&self, input: usize, attribute: &str) -> Option<Vec<i64>> {
        match self.attribute(attribute) {
            Some(attribute) => Some(attribute.ints.clone()),
            None if self.has(input) => self.ints(input),
            None => Some(Vec::new()),
        }
    }

    /// The type that an attribute names by its number.
    pub(super) fn type_of(&self, attribute: &str) -> Option<DataType> {
        let code = i32::try_from(self.int(attribute)?).ok()?;
        DataType::try_from(code)
            .ok()
            .filter(|&elem_type| elem_type != DataType::Undefined)
    }

    /// A `Constant` node's value.
    pub(super) fn constant(&self) -> Option<Stated> {
        let [attribute] = &*self.proto.attribute else {
            return None;
        };
        let (elem_type, dims) = match attribute.name() {
            "value" => return attribute.t.as_deref().map(Stated::of_constant),
            "value_int" => (DataType::Int64, vec![]),
            "value_float" => (DataType::Float, vec![]),
            "value_ints" => (DataType::Int64, vec![len(attribute.ints.len())]),
            "value_floats" => (DataType::Float, vec![len(attribute.floats.len())]),
            _ => return None,
        };
        Some(Stated {
            elem_type: Some(elem_type),
            dims: Some(dims),
        })
    }
}

/// An axis of this length.
pub(super) fn len(len: usize) -> Option<i64> {
    i64::try_from(len).ok()
}

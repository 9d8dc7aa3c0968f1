//! A node, with what is known of its inputs.

use super::Dims;
use crate::constant;
use crate::error::shorten;
use crate::external::ExternalFiles;
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto};
use crate::stated::Stated;

/// What is known of the values that nodes read.
pub(crate) trait Values {
    /// Type and shape.
    fn stated(&self, name: &str) -> Option<&Stated>;

    /// The integers in it, where they are known and few.
    fn ints(&self, name: &str) -> Option<Vec<i64>>;
}

pub(crate) struct Node<'a> {
    values: &'a dyn Values,
    proto: &'a NodeProto,
}

impl<'a> Node<'a> {
    pub(crate) fn new(values: &'a dyn Values, proto: &'a NodeProto) -> Self {
        Self { values, proto }
    }

    /// ONNX's own domain is `""`.
    pub(crate) fn domain(&self) -> &'a str {
        match self.proto.domain() {
            "ai.onnx" => "",
            other => other,
        }
    }

    pub(crate) fn op_type(&self) -> &'a str {
        self.proto.op_type()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.proto.input.len()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    pub(crate) fn has(&self, input: usize) -> bool {
        self.input(input).is_some()
    }

    fn input(&self, input: usize) -> Option<&'a str> {
        let name = self.proto.input.get(input)?;
        (!name.is_empty()).then_some(name)
    }

    /// For a message.
    pub(crate) fn input_name(&self, input: usize) -> String {
        format!("{:?}", shorten(self.input(input).unwrap_or_default()))
    }

    fn stated(&self, input: usize) -> Option<&Stated> {
        self.values.stated(self.input(input)?)
    }

    pub(crate) fn elem_type(&self, input: usize) -> Option<DataType> {
        self.stated(input)?.elem_type
    }

    pub(crate) fn dims(&self, input: usize) -> Option<Dims> {
        self.stated(input)?.dims.clone()
    }

    pub(crate) fn rank(&self, input: usize) -> Option<usize> {
        Some(self.stated(input)?.dims.as_ref()?.len())
    }

    /// What is known of an input, for an output that is like it.
    pub(crate) fn like(&self, input: usize) -> Stated {
        self.stated(input).cloned().unwrap_or_default()
    }

    /// The integers in an input, where they are known and few.
    pub(crate) fn ints(&self, input: usize) -> Option<Vec<i64>> {
        self.values.ints(self.input(input)?)
    }

    pub(crate) fn is_float(&self, input: usize) -> bool {
        use DataType::{Bfloat16, Double, Float, Float16};
        matches!(
            self.elem_type(input),
            Some(Float | Double | Float16 | Bfloat16)
        )
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name() == name)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(AttributeProto::i)
    }

    pub(crate) fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    /// A string, such as an enumeration's value.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(name)?.s.as_deref()?).ok()
    }

    /// A list that newer opsets have as an input and older ones as an attribute: `None` when it is
    /// given but not known, an empty list when it isn't given.
    pub(crate) fn ints_of(&self, input: usize, attribute: &str) -> Option<Vec<i64>> {
        match self.attribute(attribute) {
            Some(attribute) => Some(attribute.ints.clone()),
            None if self.has(input) => self.ints(input),
            None => Some(Vec::new()),
        }
    }

    /// The type that an attribute names by its number.
    pub(crate) fn type_of(&self, attribute: &str) -> Option<DataType> {
        let code = i32::try_from(self.int(attribute)?).ok()?;
        DataType::try_from(code)
            .ok()
            .filter(|&elem_type| elem_type != DataType::Undefined)
    }

    /// The integer that `ConstantOfShape` repeats; `None` where it is none.
    pub(crate) fn fill_value(&self) -> Option<i64> {
        let Some(attribute) = self.attribute("value") else {
            return Some(0);
        };
        let tensor = constant::tensor(attribute.t.as_deref()?, &ExternalFiles::none()).ok()?;
        match tensor.dtype().is_float() {
            false => tensor.to_i64_vec().ok()?.first().copied(),
            true => {
                let value = tensor.to_f32_vec().ok()?.first().copied()?;
                (value.fract() == 0.0).then_some(value as i64)
            }
        }
    }

    /// A `Constant` node's value.
    pub(crate) fn constant(&self) -> Option<Stated> {
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
pub(crate) fn len(len: usize) -> Option<i64> {
    i64::try_from(len).ok()
}

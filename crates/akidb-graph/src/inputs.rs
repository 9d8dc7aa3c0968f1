//! What the graph wants to be given.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{TypeProto, ValueInfoProto, type_proto};

use crate::past;

/// What an input means, by its name in Hugging Face's exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Token ids, `[texts, tokens]`.
    InputIds,
    /// 1 for a text's token; for padding what [`Padding`] says. `[texts, tokens]`.
    AttentionMask,
    /// 0, 1, 2, … `[texts, tokens]`.
    PositionIds,
    /// All 0: one segment. `[texts, tokens]`.
    TokenTypeIds,
    /// A decoder's cache, empty: `[texts, heads, 0, head_dim]`.
    PastKeyValues {
        /// Number of key/value heads.
        heads: usize,
        /// Width of one.
        head_dim: usize,
    },
}

/// Type of an input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the graph.
    pub name: String,
    /// What it means.
    pub role: Role,
    /// What it is made of.
    pub element: ElementType,
}

/// What fills up the shorter texts of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Token id.
    pub id: u32,
    /// Value in `attention_mask`: 0, or 1 for causal graphs, in which no token looks to its right.
    pub mask: u32,
}

/// The inputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Those whose meaning is known, `input_ids` among them.
    pub known: Vec<Input>,
    /// Those whose meaning is not, as `"name": type`.
    pub unknown: Vec<String>,
}

impl Inputs {
    /// Reads the inputs' names, types and shapes off `onnx`; `head_dim` is the width of a key/value
    /// head, for graphs that don't tell it.
    ///
    /// # Errors
    /// When the graph takes no `input_ids`.
    pub fn of(onnx: &OnnxModel, head_dim: Option<usize>) -> Result<Self, BackendError> {
        let mut inputs = Self {
            known: Vec::new(),
            unknown: Vec::new(),
        };
        for input in onnx.inputs() {
            match meaning(onnx, input, head_dim) {
                Some((role, element)) => inputs.known.push(Input {
                    name: input.name().to_owned(),
                    role,
                    element,
                }),
                None => {
                    let described = format!("{:?}: {}", input.name(), type_name(&input.r#type));
                    inputs.unknown.push(described);
                }
            }
        }
        if inputs.known.iter().any(|i| i.role == Role::InputIds) {
            return Ok(inputs);
        }
        Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the graph takes no integer `input_ids` of rank 2; its inputs are {}",
                inputs.unknown.join(", ")
            ),
        ))
    }
}

impl Role {
    /// The input's values for `texts`, padded on the right to the longest of them, row-major
    /// `[texts, tokens]`; nothing for an empty cache.
    pub fn values<T>(
        self,
        texts: &[&[u32]],
        padding: Padding,
        convert: impl Fn(u32) -> T,
    ) -> Vec<T> {
        let value = |ids: &[u32], i: usize| match self {
            Self::InputIds => ids.get(i).copied().unwrap_or(padding.id),
            Self::AttentionMask if i < ids.len() => 1,
            Self::AttentionMask => padding.mask,
            // Lengths are bounded far below 2³².
            Self::PositionIds => i as u32,
            Self::TokenTypeIds | Self::PastKeyValues { .. } => 0,
        };
        let length = match self {
            Self::PastKeyValues { .. } => 0,
            _ => texts.iter().map(|ids| ids.len()).max().unwrap_or(0),
        };
        let mut values = Vec::with_capacity(texts.len().saturating_mul(length));
        for ids in texts {
            values.extend((0..length).map(|i| convert(value(ids, i))));
        }
        values
    }
}

fn meaning(
    onnx: &OnnxModel,
    input: &ValueInfoProto,
    stated_head_dim: Option<usize>,
) -> Option<(Role, ElementType)> {
    let element = element_type(&input.r#type)?;
    let shape = shape(input);
    let integers = matches!(element, ElementType::I32 | ElementType::I64);
    let per_token = integers && shape.is_none_or(|shape| shape.len() == 2);
    let role = match input.name() {
        "input_ids" if per_token => Role::InputIds,
        "attention_mask" if per_token => Role::AttentionMask,
        "position_ids" if per_token => Role::PositionIds,
        "token_type_ids" if per_token => Role::TokenTypeIds,
        name if name.starts_with("past_key_values.") && !integers => {
            let [_, heads, past, head_dim] = shape? else {
                return None;
            };
            let heads = fixed(heads).filter(|_| fixed(past).is_none())?;
            let head_dim = fixed(head_dim)
                .or_else(|| past::head_dim(onnx, name, heads))
                .or(stated_head_dim)?;
            Role::PastKeyValues { heads, head_dim }
        }
        _ => return None,
    };
    Some((role, element))
}

fn tensor_type(declared: &Option<TypeProto>) -> Option<&type_proto::Tensor> {
    match declared.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

pub(crate) fn data_type(declared: &Option<TypeProto>) -> Option<DataType> {
    DataType::try_from(tensor_type(declared)?.elem_type()).ok()
}

fn element_type(declared: &Option<TypeProto>) -> Option<ElementType> {
    match data_type(declared)? {
        DataType::Int32 => Some(ElementType::I32),
        DataType::Int64 => Some(ElementType::I64),
        DataType::Float => Some(ElementType::F32),
        DataType::Float16 => Some(ElementType::F16),
        _ => None,
    }
}

pub(crate) fn shape(value: &ValueInfoProto) -> Option<&[Dimension]> {
    Some(&tensor_type(&value.r#type)?.shape.as_ref()?.dim)
}

pub(crate) fn fixed(dimension: &Dimension) -> Option<usize> {
    match dimension.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(size).ok(),
        _ => None,
    }
}

/// The ONNX type, such as `int64`.
fn type_name(declared: &Option<TypeProto>) -> String {
    match declared.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => {
            match DataType::try_from(tensor.elem_type()) {
                Ok(dtype) => format!("{dtype:?}").to_lowercase(),
                Err(_) => format!("element type {}", tensor.elem_type()),
            }
        }
        Some(_) => "not a tensor".to_owned(),
        None => "undeclared".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(fixture: &str, head_dim: Option<usize>) -> Inputs {
        let path = akidb_testing::fixture(fixture);
        Inputs::of(&OnnxModel::open(&path).unwrap(), head_dim).unwrap()
    }

    #[test]
    fn a_decoder_tells_what_it_takes() {
        let inputs = inputs("tiny-f16/onnx/model_fp16.onnx", None);
        assert_eq!(inputs.unknown, [""; 0]);
        let roles: Vec<Role> = inputs.known.iter().map(|i| i.role).collect();
        let past = Role::PastKeyValues {
            heads: 2,
            head_dim: 16,
        };
        assert_eq!(
            roles[..4],
            [Role::InputIds, Role::AttentionMask, Role::PositionIds, past]
        );
        assert_eq!(roles.len(), 3 + 2 * 3);
        assert_eq!(inputs.known[0].element, ElementType::I64);
        assert_eq!(inputs.known[3].element, ElementType::F16);
    }

    #[test]
    fn a_head_dim_that_only_the_config_tells() {
        let file = "tiny-quantized/onnx/model_q4.onnx";
        assert_eq!(inputs(file, None).unknown.len(), 4);
        let stated = inputs(file, Some(16));
        assert_eq!((stated.known.len(), stated.unknown.len()), (7, 0));
    }

    #[test]
    fn texts_are_padded_on_the_right() {
        let texts: [&[u32]; 2] = [&[5, 6, 7], &[8]];
        let values = |role: Role| role.values(&texts, Padding { id: 9, mask: 0 }, i64::from);
        assert_eq!(values(Role::InputIds), [5, 6, 7, 8, 9, 9]);
        assert_eq!(values(Role::AttentionMask), [1, 1, 1, 1, 0, 0]);
        assert_eq!(values(Role::PositionIds), [0, 1, 2, 0, 1, 2]);
        assert_eq!(values(Role::TokenTypeIds), [0; 6]);
        let past = Role::PastKeyValues {
            heads: 2,
            head_dim: 4,
        };
        assert_eq!(values(past), [0; 0]);
        let masked = Role::AttentionMask.values(&texts, Padding { id: 9, mask: 1 }, i64::from);
        assert_eq!(masked, [1; 6]);
    }
}

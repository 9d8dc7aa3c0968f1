//! What the graph wants to be given, and how it is made of token ids.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use rten::{DataType, Dimension, Model, NodeId, Value, ValueOrView, ValueType};

use crate::graph::GraphFacts;
use crate::past;

/// What an input means, by its name in Hugging Face's exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    InputIds,
    /// 1 for a text's token; for padding what [`Padding`] says.
    AttentionMask,
    /// 0, 1, 2, …
    PositionIds,
    /// All 0: one segment.
    TokenTypeIds,
    /// A decoder's cache, empty: `[texts, heads, 0, head_dim]`.
    PastKeyValues {
        heads: usize,
        head_dim: usize,
    },
}

/// What fills up the shorter texts of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padding {
    /// Token id.
    pub(crate) id: u32,
    /// Value in `attention_mask`: 0, or 1 for causal graphs, in which no token looks to its right.
    pub(crate) mask: u32,
}

/// The inputs of a graph.
#[derive(Debug)]
pub(crate) struct Inputs {
    given: Vec<(NodeId, Role)>,
    /// Those whose meaning is unknown, as `name: type`. A run may do without them.
    unknown: Vec<String>,
}

impl Inputs {
    /// Reads the inputs' names and types off `model`.
    ///
    /// # Errors
    /// When the graph takes no `input_ids`.
    pub(crate) fn of(
        model: &Model,
        onnx: &OnnxModel,
        facts: &GraphFacts,
    ) -> Result<Self, BackendError> {
        let mut given = Vec::new();
        let mut unknown = Vec::new();
        for &id in model.input_ids() {
            let Some(info) = model.node_info(id) else {
                continue;
            };
            let name = info.name().unwrap_or_default();
            let shape = info.shape();
            let head_dim = |heads| past::head_dim(onnx, model, name, heads);
            match role(name, info.dtype(), shape.as_deref(), head_dim) {
                Some(role) => given.push((id, role)),
                None => unknown.push(format!("{name:?}: {}", facts.input_type(name))),
            }
        }
        if given.iter().any(|(_, role)| *role == Role::InputIds) {
            return Ok(Self { given, unknown });
        }
        Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the graph takes no integer `input_ids` of rank 2; its inputs are {}",
                unknown.join(", ")
            ),
        ))
    }

    /// Names and types of the inputs that will not be given.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// A value for each known input: `texts` padded on the right to the longest of them. Ids are
    /// below 2³¹.
    pub(crate) fn values(
        &self,
        texts: &[&[u32]],
        padding: Padding,
    ) -> Result<Vec<(NodeId, ValueOrView<'static>)>, BackendError> {
        let length = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let each_token = |value: &dyn Fn(&[u32], usize) -> u32| {
            let mut data = Vec::with_capacity(texts.len() * length);
            for ids in texts {
                data.extend((0..length).map(|i| value(ids, i).cast_signed()));
            }
            Value::from_shape([texts.len(), length], data).map_err(shape_error)
        };
        let mut values = Vec::with_capacity(self.given.len());
        for &(id, role) in &self.given {
            let value = match role {
                Role::InputIds => each_token(&|ids, i| ids.get(i).copied().unwrap_or(padding.id))?,
                Role::AttentionMask => {
                    each_token(&|ids, i| if i < ids.len() { 1 } else { padding.mask })?
                }
                Role::PositionIds => each_token(&|_, i| i as u32)?,
                Role::TokenTypeIds => each_token(&|_, _| 0)?,
                Role::PastKeyValues { heads, head_dim } => {
                    Value::from_shape([texts.len(), heads, 0, head_dim], Vec::<f32>::new())
                        .map_err(shape_error)?
                }
            };
            values.push((id, value.into()));
        }
        Ok(values)
    }
}

fn shape_error(error: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, "an input can't be made").with_source(error)
}

fn role(
    name: &str,
    dtype: Option<ValueType>,
    shape: Option<&[Dimension]>,
    head_dim_of_appended: impl Fn(usize) -> Option<usize>,
) -> Option<Role> {
    let integers = dtype == Some(ValueType::Tensor(DataType::Int32));
    let floats = dtype == Some(ValueType::Tensor(DataType::Float));
    let per_token = integers && shape.is_none_or(|shape| shape.len() == 2);
    match name {
        "input_ids" if per_token => Some(Role::InputIds),
        "attention_mask" if per_token => Some(Role::AttentionMask),
        "position_ids" if per_token => Some(Role::PositionIds),
        "token_type_ids" if per_token => Some(Role::TokenTypeIds),
        _ if name.starts_with("past_key_values.") && floats => {
            let [_, heads, Dimension::Symbolic(_), head_dim] = shape? else {
                return None;
            };
            let heads = fixed(heads)?;
            Some(Role::PastKeyValues {
                heads,
                head_dim: fixed(head_dim).or_else(|| head_dim_of_appended(heads))?,
            })
        }
        _ => None,
    }
}

fn fixed(dimension: &Dimension) -> Option<usize> {
    match dimension {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Symbolic(_) => None,
    }
}

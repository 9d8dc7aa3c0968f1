//! Token ids as RTen's values.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_graph::{Inputs, Padding, Role};
use rten::{Model, NodeId, Value, ValueOrView};

/// A graph's inputs by RTen's ids.
#[derive(Debug)]
pub(crate) struct InputNodes {
    given: Vec<(NodeId, Role)>,
    unknown: Vec<String>,
}

impl InputNodes {
    pub(crate) fn of(model: &Model, inputs: Inputs) -> Self {
        let mut given = Vec::new();
        for &id in model.input_ids() {
            let info = model.node_info(id);
            let name = info.as_ref().and_then(|info| info.name());
            let mut known = inputs.known.iter();
            if let Some(input) = known.find(|input| Some(input.name.as_str()) == name) {
                given.push((id, input.role));
            }
        }
        Self {
            given,
            unknown: inputs.unknown,
        }
    }

    /// Names and types of the inputs that will not be given. A run may do without them.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// A value for each known input. Ids are below 2³¹. RTen holds every integer as i32 and every
    /// float as f32.
    pub(crate) fn values(
        &self,
        texts: &[&[u32]],
        padding: Padding,
    ) -> Result<Vec<(NodeId, ValueOrView<'static>)>, BackendError> {
        let length = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut values = Vec::with_capacity(self.given.len());
        for &(id, role) in &self.given {
            let value = match role {
                Role::PastKeyValues { heads, head_dim } => {
                    Value::from_shape([texts.len(), heads, 0, head_dim], Vec::<f32>::new())
                        .map_err(shape_error)?
                }
                _ => {
                    let data = role.values(texts, padding, u32::cast_signed);
                    Value::from_shape([texts.len(), length], data).map_err(shape_error)?
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

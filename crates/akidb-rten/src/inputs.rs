//! Token ids as RTen's values.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_graph::{ElementType, Input, Inputs, TextLayout, Texts};
use rten::{Model, NodeId, Value, ValueOrView};

/// A graph's inputs by RTen's ids.
#[derive(Debug)]
pub(crate) struct InputNodes {
    given: Vec<(NodeId, Input)>,
    unknown: Vec<String>,
    layout: TextLayout,
}

impl InputNodes {
    pub(crate) fn of(model: &Model, inputs: Inputs) -> Self {
        let mut given = Vec::new();
        for &id in model.input_ids() {
            let info = model.node_info(id);
            let name = info.as_ref().and_then(|info| info.name());
            let mut known = inputs.known.iter();
            if let Some(input) = known.find(|input| Some(input.name.as_str()) == name) {
                given.push((id, input.clone()));
            }
        }
        Self {
            given,
            unknown: inputs.unknown,
            layout: inputs.layout,
        }
    }

    /// Names and types of the inputs that will not be given. A run may do without them.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// How texts lie in the inputs.
    pub(crate) fn layout(&self) -> TextLayout {
        self.layout
    }

    /// A value for each known input. Ids are below 2³¹. RTen holds every integer and every truth value
    /// as i32, and every float as f32.
    pub(crate) fn values(
        &self,
        texts: &Texts<'_>,
    ) -> Result<Vec<(NodeId, ValueOrView<'static>)>, BackendError> {
        let mut values = Vec::with_capacity(self.given.len());
        for (id, input) in &self.given {
            let value = match input.element {
                ElementType::I32 | ElementType::I64 | ElementType::Bool => {
                    let (shape, data) = input.tensor(self.layout, texts, u32::cast_signed)?;
                    Value::from_shape(shape.as_slice(), data).map_err(shape_error)?
                }
                ElementType::F32 | ElementType::F16 => {
                    let (shape, data) = input.tensor(self.layout, texts, |x| x as f32)?;
                    Value::from_shape(shape.as_slice(), data).map_err(shape_error)?
                }
            };
            values.push((*id, value.into()));
        }
        Ok(values)
    }
}

fn shape_error(error: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, "an input can't be made").with_source(error)
}

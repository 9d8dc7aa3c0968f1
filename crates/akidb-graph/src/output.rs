//! Which of the graph's outputs is the embedding.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ValueInfoProto;
use akidb_onnx::proto::tensor_proto::DataType;

use crate::inputs::{data_type, shape};

/// The names that exporters give to the hidden states, in the order of preference.
const HIDDEN_STATES: [&str; 3] = ["last_hidden_state", "hidden_states", "token_embeddings"];

/// Name of the output called `wanted`, or of the one that
/// [`GraphOptions::output`](crate::GraphOptions::output) describes; nothing else need be computed.
///
/// # Errors
/// When there is none; the error lists what there is.
pub fn output_name(onnx: &OnnxModel, wanted: Option<&str>) -> Result<String, BackendError> {
    let outputs = onnx.outputs();
    let named = |name| outputs.iter().find(|output| output.name() == name);
    let chosen = match wanted {
        Some(wanted) => named(wanted),
        None => named("sentence_embedding")
            .filter(|output| shape(output).is_none_or(|shape| shape.len() == 2))
            .or_else(|| HIDDEN_STATES.into_iter().find_map(named))
            .or_else(|| outputs.iter().find(|output| holds_hidden_states(output))),
    };
    match chosen {
        Some(chosen) => Ok(chosen.name().to_owned()),
        None => Err(none_of(outputs, wanted)),
    }
}

fn holds_hidden_states(output: &ValueInfoProto) -> bool {
    shape(output).is_some_and(|shape| shape.len() == 3)
        && matches!(
            data_type(&output.r#type),
            Some(DataType::Float | DataType::Float16)
        )
        && !output.name().starts_with("present")
}

fn none_of(outputs: &[ValueInfoProto], wanted: Option<&str>) -> BackendError {
    let (kind, what) = match wanted {
        Some(wanted) => (
            BackendErrorKind::InvalidInput,
            format!("the graph has no output {wanted:?}"),
        ),
        None => (
            BackendErrorKind::UnsupportedModel,
            "none of the graph's outputs looks like an embedding".to_owned(),
        ),
    };
    let names: Vec<_> = outputs.iter().map(|o| format!("{:?}", o.name())).collect();
    BackendError::new(kind, format!("{what}; it has {}", names.join(", ")))
}

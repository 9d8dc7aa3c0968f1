//! How RTen is given a graph and its weights.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_graph::{GraphBytes, GraphSource, invalid_model};
use akidb_onnx::external_tensors_mut;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{GraphProto, ModelProto, StringStringEntryProto};
use akidb_onnx::tensor::Tensor;
use prost::Message;
use rten::{LoadError, LoadErrorKind, Model, ModelOptions};

use crate::ties;

/// The model in RTen.
pub(crate) fn load(source: &GraphSource, prepack_weights: bool) -> Result<Model, BackendError> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(prepack_weights);
    let external = !source.onnx.external_tensors().is_empty();
    let loaded = if external || ties::has_ties(source.onnx.graph()) {
        let mut graph = source.onnx.graph().clone();
        lend_external_tensors(&source.onnx, &mut graph, &mut options)?;
        if ties::has_ties(&graph) {
            ties::take_first(&mut graph)?;
        }
        let model = ModelProto {
            graph: Some(graph),
            ..source.onnx.proto().clone()
        };
        options.load(model.encode_to_vec())
    } else {
        match &source.bytes {
            // Streams: no byte of a weight is in memory twice.
            GraphBytes::File(path) => options.load_file(path),
            GraphBytes::Static(bytes) => options.load_static_slice(bytes),
        }
    };
    loaded.map_err(|e| load_error(source, &e))
}

/// Gives `options` every external tensor of `graph`, which then refers to these.
///
/// RTen's own rules for external data (names that end in `.data`, both offset and length
/// stated, aligned) are narrower than ONNX's, and its check of the location is not ours. So
/// each tensor is found and checked by `akidb-onnx` and handed over as a file of its own.
fn lend_external_tensors(
    onnx: &OnnxModel,
    graph: &mut GraphProto,
    options: &mut ModelOptions,
) -> Result<(), BackendError> {
    let (mut lent, mut broken) = (0, None);
    external_tensors_mut(graph, &mut |proto| {
        let tensor = match onnx.tensor(proto) {
            Ok(tensor) => tensor,
            Err(error) => {
                broken.get_or_insert(error);
                return;
            }
        };
        let name = format!("{lent}.data");
        lent += 1;
        lend(&tensor, &name, options);
        let length = tensor.data().len().to_string();
        let entries = [
            ("location", name),
            ("offset", "0".to_owned()),
            ("length", length),
        ];
        proto.external_data = entries
            .map(|(key, value)| StringStringEntryProto {
                key: Some(key.to_owned()),
                value: Some(value),
            })
            .into();
    });
    broken.map_or(Ok(()), |error| Err(invalid_model(error)))
}

fn load_error(source: &GraphSource, error: &LoadError) -> BackendError {
    // RTen calls a tensor that is broken and one of a type that it lacks the same.
    if error.kind() == LoadErrorKind::GraphError
        && let Some(tensor) = error.node()
        && let Err(broken) = source.onnx.initializer(tensor)
    {
        return invalid_model(broken);
    }
    let kind = match error.kind() {
        LoadErrorKind::OperatorInvalid
        | LoadErrorKind::GraphError
        | LoadErrorKind::OptimizeError => BackendErrorKind::UnsupportedModel,
        _ => BackendErrorKind::InvalidModel,
    };
    let file = source.label();
    BackendError::new(kind, format!("{file}RTen can't load the graph: {error}"))
}

/// Hands `tensor` to RTen as the file `name`.
///
/// RTen borrows for the life of the process, so the mapped bytes are leaked: address space and
/// clean file pages, not memory. Bytes that are not aligned to the element type are copied.
fn lend(tensor: &Tensor, name: &str, options: &mut ModelOptions) {
    let data = tensor.data().clone();
    if data.as_ptr().addr().is_multiple_of(tensor.dtype().size()) {
        options.external_data_static(name, Box::leak(Box::new(data)));
    } else {
        options.external_data(name, data.to_vec());
    }
}

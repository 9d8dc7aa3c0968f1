//! Where a model comes from, and how RTen is given its weights.

use std::path::{Path, PathBuf};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::external_tensors_mut;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{GraphProto, ModelProto, StringStringEntryProto};
use akidb_onnx::tensor::Tensor;
use bytes::Bytes;
use prost::Message;
use rten::{LoadError, LoadErrorKind, Model, ModelOptions};

use crate::ties;

/// A model whose file is known to be well-formed, of bounded size and free of cycles.
pub(crate) struct Source {
    onnx: OnnxModel,
    place: Place,
}

enum Place {
    File(PathBuf),
    Static(&'static [u8]),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, BackendError> {
        Ok(Self {
            onnx: OnnxModel::open(path).map_err(invalid)?,
            place: Place::File(path.to_owned()),
        })
    }

    pub(crate) fn from_static(bytes: &'static [u8]) -> Result<Self, BackendError> {
        Ok(Self {
            onnx: OnnxModel::from_bytes(Bytes::from_static(bytes)).map_err(invalid)?,
            place: Place::Static(bytes),
        })
    }

    pub(crate) fn onnx(&self) -> &OnnxModel {
        &self.onnx
    }

    /// The model in RTen.
    pub(crate) fn load(&self, prepack_weights: bool) -> Result<Model, BackendError> {
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(prepack_weights);
        let external = !self.onnx.external_tensors().is_empty();
        let loaded = if external || ties::has_ties(self.onnx.graph()) {
            let mut graph = self.onnx.graph().clone();
            self.lend_external_tensors(&mut graph, &mut options)?;
            if ties::has_ties(&graph) {
                ties::take_first(&mut graph)?;
            }
            let model = ModelProto {
                graph: Some(graph),
                ..self.onnx.proto().clone()
            };
            options.load(model.encode_to_vec())
        } else {
            match &self.place {
                // Streams: no byte of a weight is in memory twice.
                Place::File(path) => options.load_file(path),
                Place::Static(bytes) => options.load_static_slice(bytes),
            }
        };
        loaded.map_err(|e| self.load_error(&e))
    }

    /// Gives `options` every external tensor of `graph`, which then refers to these.
    ///
    /// RTen's own rules for external data (names that end in `.data`, both offset and length
    /// stated, aligned) are narrower than ONNX's, and its check of the location is not ours. So
    /// each tensor is found and checked by `akidb-onnx` and handed over as a file of its own.
    fn lend_external_tensors(
        &self,
        graph: &mut GraphProto,
        options: &mut ModelOptions,
    ) -> Result<(), BackendError> {
        let (mut lent, mut broken) = (0, None);
        external_tensors_mut(graph, &mut |proto| {
            let tensor = match self.onnx.tensor(proto) {
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
        broken.map_or(Ok(()), |error| Err(invalid(error)))
    }

    fn load_error(&self, error: &LoadError) -> BackendError {
        // RTen calls a tensor that is broken and one of a type that it lacks the same.
        if error.kind() == LoadErrorKind::GraphError
            && let Some(tensor) = error.node()
            && let Err(broken) = self.onnx.initializer(tensor)
        {
            return invalid(broken);
        }
        let kind = match error.kind() {
            LoadErrorKind::OperatorInvalid
            | LoadErrorKind::GraphError
            | LoadErrorKind::OptimizeError => BackendErrorKind::UnsupportedModel,
            _ => BackendErrorKind::InvalidModel,
        };
        let file = match &self.place {
            Place::File(path) => format!("{}: ", path.display()),
            Place::Static(_) => String::new(),
        };
        BackendError::new(kind, format!("{file}RTen can't load the graph: {error}"))
    }
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

fn invalid(error: akidb_onnx::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::InvalidModel,
        "the ONNX model can't be read",
    )
    .with_source(error)
}

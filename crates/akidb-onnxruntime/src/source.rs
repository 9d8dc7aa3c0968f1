//! Where a model comes from, and that it names no file that it may not.

use std::path::{Path, PathBuf};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataLocation;
use akidb_onnx::proto::{
    AttributeProto, GraphProto, SparseTensorProto, StringStringEntryProto, TensorProto,
};
use bytes::Bytes;

/// A model whose file is known to be well-formed, and whose external data is in its directory.
pub(crate) struct Source {
    pub(crate) onnx: OnnxModel,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    File(PathBuf),
    Static(&'static [u8]),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, BackendError> {
        Self::opened(OnnxModel::open(path).map_err(invalid)?, path)
    }

    /// A graph that was opened at `path`.
    pub(crate) fn opened(onnx: OnnxModel, path: &Path) -> Result<Self, BackendError> {
        check_external(&onnx)?;
        Ok(Self {
            onnx,
            place: Place::File(path.to_owned()),
        })
    }

    pub(crate) fn from_static(bytes: &'static [u8]) -> Result<Self, BackendError> {
        let onnx = OnnxModel::from_bytes(Bytes::from_static(bytes)).map_err(invalid)?;
        check_external(&onnx)?;
        Ok(Self {
            onnx,
            place: Place::Static(bytes),
        })
    }
}

/// ONNX Runtime opens external files by itself: each must be inside the model's directory and long
/// enough. Only the graph's own initializers may have any; no exporter puts them elsewhere.
fn check_external(onnx: &OnnxModel) -> Result<(), BackendError> {
    let unsupported = |what| BackendError::new(BackendErrorKind::UnsupportedModel, what);
    for tensor in &onnx.graph().initializer {
        if is_external(tensor) {
            onnx.initializer(tensor.name()).map_err(invalid)?;
            if tensor.external_data.iter().any(is_address) {
                return Err(unsupported(
                    "an initializer refers to memory, not to a file",
                ));
            }
        }
    }
    let functions = onnx.proto().functions.iter();
    let nodes = onnx.nodes().iter().chain(functions.flat_map(|f| &f.node));
    let sparse = onnx.graph().sparse_initializer.iter();
    if nodes
        .flat_map(|node| &node.attribute)
        .any(attribute_is_external)
        || sparse.into_iter().any(sparse_is_external)
    {
        return Err(unsupported(
            "an attribute, a subgraph or a sparse tensor has external data",
        ));
    }
    Ok(())
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == DataLocation::External
}

/// A location that ONNX Runtime takes for an address in its own process.
fn is_address(entry: &StringStringEntryProto) -> bool {
    entry.key() == "location" && entry.value().contains("_ORT_MEM_ADDR_")
}

fn sparse_is_external(sparse: &SparseTensorProto) -> bool {
    let mut parts = sparse.values.iter().chain(&sparse.indices);
    parts.any(is_external)
}

/// Nesting is bounded by `akidb-onnx`.
fn attribute_is_external(attribute: &AttributeProto) -> bool {
    let mut tensors = attribute.t.as_deref().into_iter().chain(&attribute.tensors);
    let sparse = attribute.sparse_tensor.as_deref().into_iter();
    let mut sparse = sparse.chain(&attribute.sparse_tensors);
    let mut graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
    tensors.any(is_external) || sparse.any(sparse_is_external) || graphs.any(graph_is_external)
}

fn graph_is_external(graph: &GraphProto) -> bool {
    let mut attributes = graph.node.iter().flat_map(|node| &node.attribute);
    graph.initializer.iter().any(is_external)
        || graph.sparse_initializer.iter().any(sparse_is_external)
        || attributes.any(attribute_is_external)
}

pub(crate) fn invalid(error: akidb_onnx::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::InvalidModel,
        "the ONNX model can't be read",
    )
    .with_source(error)
}

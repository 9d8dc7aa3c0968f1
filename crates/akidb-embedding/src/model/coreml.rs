//! Files that were written for CoreML.

use std::path::Path;

use akidb_onnx::model::OnnxModel;

/// The graphs that a manifest of files for CoreML names.
#[cfg(feature = "onnxruntime")]
pub(super) fn coreml_graphs(manifest: &Path) -> Result<Vec<OnnxModel>, akidb_onnx::Error> {
    let graphs = akidb_onnxruntime::coreml::read(manifest)?
        .graphs
        .into_iter();
    Ok(graphs.map(|graph| graph.model).collect())
}

/// None: nothing in this program reads them.
#[cfg(not(feature = "onnxruntime"))]
pub(super) fn coreml_graphs(_: &Path) -> Result<Vec<OnnxModel>, akidb_onnx::Error> {
    Ok(Vec::new())
}

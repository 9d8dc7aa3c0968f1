//! Files that a graph names: none that it may not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_graph::{GraphBytes, GraphSource, invalid_model};
use akidb_onnx::Location;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::StringStringEntryProto;

/// A file that a graph names and that is a link.
pub(crate) struct LinkedFile {
    /// As the graph names it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// The files of external data that are links.
///
/// # Errors
/// When the graph names a file that isn't there.
pub(crate) fn linked_files(source: &GraphSource) -> Result<Vec<LinkedFile>, akidb_onnx::Error> {
    let GraphBytes::File(path) = &source.bytes else {
        return Ok(Vec::new());
    };
    let directory = path.parent().unwrap_or(Path::new(""));
    let tensors = source.onnx.external_tensors().into_iter();
    let names: Result<BTreeSet<&str>, _> = tensors
        .map(|tensor| Location::of(tensor).map(|location| location.file))
        .collect();
    let links = names?.into_iter().filter_map(|name| {
        let link = directory.join(name);
        link.is_symlink().then(|| LinkedFile {
            name: name.to_owned(),
            path: link,
        })
    });
    Ok(links.collect())
}

/// ONNX Runtime opens external files by itself: each must be inside the model's directory and long
/// enough, whatever part of the graph names it.
pub(crate) fn check_external(onnx: &OnnxModel) -> Result<(), BackendError> {
    for tensor in onnx.external_tensors() {
        onnx.tensor(tensor).map_err(invalid_model)?;
        if tensor.external_data.iter().any(is_address) {
            return Err(BackendError::new(
                BackendErrorKind::UnsupportedModel,
                "a tensor refers to memory, not to a file",
            ));
        }
    }
    Ok(())
}

/// A location that ONNX Runtime takes for an address in its own process.
fn is_address(entry: &StringStringEntryProto) -> bool {
    entry.key() == "location" && entry.value().contains("_ORT_MEM_ADDR_")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn links_among_the_files_of_a_graph_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (dir.path().join("blobs"), dir.path().join("snapshots/1"));
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir_all(&snapshot).unwrap();
        let from = akidb_testing::fixture("forms/constant-file/onnx");
        for (file, blob) in [("model.onnx", "a"), ("Constant_7_attr__value", "b")] {
            std::fs::copy(from.join(file), blobs.join(blob)).unwrap();
            std::os::unix::fs::symlink(blobs.join(blob), snapshot.join(file)).unwrap();
        }
        let links = |directory: &Path| {
            let source = GraphSource::open(&directory.join("model.onnx")).unwrap();
            let links = linked_files(&source).unwrap().into_iter();
            links.map(|file| (file.name, file.path)).collect::<Vec<_>>()
        };
        assert_eq!(links(&from), []);
        let name = "Constant_7_attr__value";
        assert_eq!(links(&snapshot), [(name.to_owned(), snapshot.join(name))]);
    }
}

//! Where a model comes from, and that it names no file that it may not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::Location;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::StringStringEntryProto;
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

/// A file that a graph names and that is a link.
pub(crate) struct LinkedFile {
    /// As the graph names it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
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

    /// The files of external data that are links.
    ///
    /// # Errors
    /// When the graph names a file that isn't there.
    pub(crate) fn linked_files(&self) -> Result<Vec<LinkedFile>, akidb_onnx::Error> {
        let Place::File(path) = &self.place else {
            return Ok(Vec::new());
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        let tensors = self.onnx.external_tensors().into_iter();
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
/// enough, whatever part of the graph names it.
fn check_external(onnx: &OnnxModel) -> Result<(), BackendError> {
    for tensor in onnx.external_tensors() {
        onnx.tensor(tensor).map_err(invalid)?;
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

pub(crate) fn invalid(error: akidb_onnx::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::InvalidModel,
        "the ONNX model can't be read",
    )
    .with_source(error)
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
            let source = Source::open(&directory.join("model.onnx")).unwrap();
            let links = source.linked_files().unwrap().into_iter();
            links.map(|file| (file.name, file.path)).collect::<Vec<_>>()
        };
        assert_eq!(links(&from), []);
        let name = "Constant_7_attr__value";
        assert_eq!(links(&snapshot), [(name.to_owned(), snapshot.join(name))]);
    }
}

//! Where a graph comes from.

use std::path::{Path, PathBuf};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use bytes::Bytes;

/// A graph whose file is known to be well-formed, of bounded size and free of cycles.
#[derive(Debug)]
pub struct GraphSource {
    /// What it says.
    pub onnx: OnnxModel,
    /// Where an engine reads it again.
    pub bytes: GraphBytes,
}

/// The bytes of an ONNX file.
#[derive(Debug, Clone)]
pub enum GraphBytes {
    /// In a file.
    File(PathBuf),
    /// In the program, without external data.
    Static(&'static [u8]),
}

impl GraphSource {
    /// Opens the file.
    ///
    /// # Errors
    /// `InvalidModel` when it can't be read or is broken.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        let onnx = OnnxModel::open(path).map_err(invalid_model)?;
        Ok(Self::opened(onnx, path))
    }

    /// A graph that was opened at `path`.
    pub fn opened(onnx: OnnxModel, path: &Path) -> Self {
        Self {
            onnx,
            bytes: GraphBytes::File(path.to_owned()),
        }
    }

    /// Reads bytes that are built into the program.
    ///
    /// # Errors
    /// `InvalidModel` when they are broken.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, BackendError> {
        let onnx = OnnxModel::from_bytes(Bytes::from_static(bytes)).map_err(invalid_model)?;
        Ok(Self {
            onnx,
            bytes: GraphBytes::Static(bytes),
        })
    }

    /// The beginning of an error message of it: its file, if it has one.
    pub fn label(&self) -> String {
        match &self.bytes {
            GraphBytes::File(path) => format!("{}: ", path.display()),
            GraphBytes::Static(_) => String::new(),
        }
    }
}

/// The error of a file that can't be read.
pub fn invalid_model(error: akidb_onnx::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::InvalidModel,
        "the ONNX model can't be read",
    )
    .with_source(error)
}

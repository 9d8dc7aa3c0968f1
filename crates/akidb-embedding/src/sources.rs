//! Which files a model's weights come from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use akidb_native::SourceFile;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::TensorProto;
use serde::Deserialize;

use crate::error::EmbedError;
use crate::model::ModelFiles;

/// The external files of an ONNX model at `path`, before weights are read from them.
pub(crate) fn external_files(path: &Path, model: &OnnxModel) -> io::Result<Vec<SourceFile>> {
    let attributes = model.nodes().iter().flat_map(|node| &node.attribute);
    let constants = attributes.filter_map(|attribute| attribute.t.as_deref());
    let tensors = model.graph().initializer.iter().chain(constants);
    beside(path, tensors.filter_map(location).collect())
}

fn location(tensor: &TensorProto) -> Option<&str> {
    let mut entries = tensor.external_data.iter();
    entries
        .find(|entry| entry.key() == "location")
        .map(|entry| entry.value())
}

/// `model.safetensors.index.json`, as far as it says where tensors are.
#[derive(Debug, Deserialize)]
struct ShardIndex {
    /// Tensor to file.
    weight_map: BTreeMap<String, String>,
}

/// The files that the index at `path` names; an error when that can't be read.
pub(crate) fn shards(
    files: &ModelFiles,
    path: &Path,
) -> Result<io::Result<Vec<SourceFile>>, EmbedError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let index: Option<ShardIndex> = files.json(&name)?;
    let files = index.iter().flat_map(|index| index.weight_map.values());
    Ok(beside(path, files.map(String::as_str).collect()))
}

/// A file and those that belong to it.
pub(crate) fn with(
    file: io::Result<SourceFile>,
    others: io::Result<Vec<SourceFile>>,
) -> io::Result<Vec<SourceFile>> {
    let mut files = vec![file?];
    files.extend(others?);
    Ok(files)
}

fn beside(path: &Path, files: BTreeSet<&str>) -> io::Result<Vec<SourceFile>> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let files = files.into_iter();
    files
        .map(|file| SourceFile::new(&directory.join(file)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_data_is_found() {
        let path = akidb_testing::fixture("tiny-external/onnx/model.onnx");
        let model = OnnxModel::open(&path).unwrap();
        let data = SourceFile::new(&path.with_extension("onnx_data")).unwrap();
        assert_eq!(external_files(&path, &model).unwrap(), [data]);
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(external_files(&elsewhere.path().join("model.onnx"), &model).is_err());

        let path = akidb_testing::fixture("tiny/onnx/model.onnx");
        let model = OnnxModel::open(&path).unwrap();
        assert_eq!(external_files(&path, &model).unwrap(), []);
    }

    #[test]
    fn shards_are_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors.index.json");
        let index = r#"{"metadata": {}, "weight_map": {"a": "2", "b": "1", "c": "2"}}"#;
        std::fs::write(&path, index).unwrap();
        let model = ModelFiles::find(dir.path().to_str()).unwrap();
        let shards = || shards(&model, &path).unwrap();
        assert!(shards().is_err());
        let files = ["1", "2"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, "x").unwrap();
        }
        let expected = files.map(|file| SourceFile::new(&file).unwrap());
        assert_eq!(shards().unwrap(), expected);
    }
}

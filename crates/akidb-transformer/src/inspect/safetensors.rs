//! What is in safetensors files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Architecture, EncoderSummary, ExternalFile, TensorFile, most, parent};
use crate::families::{ModelConfig, from_safetensors};
use akidb_onnx::Error;
use akidb_onnx::safetensors::{INDEX_FILE, SafetensorsFile, shards};

/// `path` is a safetensors file or the index of several.
/// Describes a safetensors file, or the files of an index; `config` tells what they make.
///
/// # Errors
/// When a file can't be read or isn't safetensors.
pub fn inspect_safetensors(path: &Path, config: Option<&ModelConfig>) -> Result<TensorFile, Error> {
    let (model, paths, external_files) = if path.ends_with(INDEX_FILE) {
        let paths = shards(path)?;
        let files = paths.iter().map(|path| shard(path)).collect();
        (parent(path), paths, files)
    } else {
        (path, vec![path.to_owned()], Vec::new())
    };
    let (constant_bytes, linear_bytes) = bytes(&paths)?;
    let architecture = match config.map(|config| from_safetensors(model, config)) {
        Some(Ok(found)) if !matches!(config, Some(ModelConfig::Decoder(_))) => {
            Architecture::Encoder(EncoderSummary::of(&found))
        }
        Some(Ok(decoder)) => Architecture::Decoder(decoder.decoder_config()),
        Some(Err(error)) => Architecture::of_error(&error),
        None => Architecture::NotRecognised("there is no config.json of a known kind".into()),
    };
    Ok(TensorFile {
        precision: most(&linear_bytes),
        linear_bytes,
        constant_bytes,
        external_files,
        architecture,
        // Sizes come from config.json alone: where the file has others, it is broken.
        disagreements: Vec::new(),
    })
}

type Bytes = BTreeMap<String, u64>;

/// Bytes by type: of all tensors, and of linear layers.
fn bytes(paths: &[PathBuf]) -> Result<(Bytes, Bytes), Error> {
    let (mut all, mut linear) = (Bytes::new(), Bytes::new());
    for path in paths {
        for (name, info) in SafetensorsFile::open(path)?.infos() {
            let dtype = format!("{:?}", info.dtype).to_ascii_lowercase();
            let len = (info.data_offsets.1 - info.data_offsets.0) as u64;
            let is_linear =
                info.shape.len() == 2 && !name.contains("embed") && name != "lm_head.weight";
            if is_linear && name.ends_with(".weight") {
                *linear.entry(dtype.clone()).or_default() += len;
            }
            *all.entry(dtype).or_default() += len;
        }
    }
    Ok((all, linear))
}

fn shard(path: &Path) -> ExternalFile {
    let bytes = fs::metadata(path).map(|m| m.len()).ok();
    ExternalFile {
        path: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes,
        needed: bytes.unwrap_or(0),
        error: None,
    }
}

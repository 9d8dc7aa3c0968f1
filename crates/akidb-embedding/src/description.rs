//! What a model's files say of it, without loading it.

use std::path::Path;

use crate::builder::EmbedderBuilder;
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings, Source};

/// What is known of a model that isn't loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDescription {
    /// Model id.
    pub model: String,
    /// Revision of the model's files, where known.
    pub revision: Option<String>,
    /// Which weight file.
    pub variant: String,
    /// Width of its vectors, where config.json says it.
    pub dimension: Option<usize>,
    /// Longest text in tokens, where a file says it.
    pub max_tokens: Option<usize>,
    /// Size of the files with its weights.
    pub weights_bytes: u64,
}

impl EmbedderBuilder {
    /// Finds the model and reads what its files say, but not its weights.
    ///
    /// ```
    /// let model = akidb_embedding::Embedder::builder().model("akidb-mini");
    /// assert_eq!(model.describe()?.dimension, Some(256));
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// When the model isn't found, or a file that says how to use it is missing or broken.
    pub fn describe(&self) -> Result<ModelDescription, EmbedError> {
        let files = ModelFiles::find(self.model.as_deref())?;
        let weights = files.weights(self.variant.as_deref())?;
        let settings = Settings::read(&files)?;
        Ok(ModelDescription {
            weights_bytes: bytes(&weights.source)?,
            variant: weights.variant,
            dimension: settings.hidden_size,
            max_tokens: settings.max_tokens,
            revision: files.revision,
            model: files.id,
        })
    }
}

fn bytes(source: &Source) -> Result<u64, EmbedError> {
    match source {
        Source::OnnxBytes(bytes) => Ok(bytes.len() as u64),
        // External data is named after the file whose it is.
        Source::Onnx(path) => beside(path, |name, own| name.starts_with(own)),
        Source::Safetensors(path) if path.extension().is_some_and(|e| e == "json") => {
            beside(path, |name, _| name.ends_with(".safetensors"))
        }
        Source::Safetensors(path) => beside(path, |name, own| name == own),
        // Its graphs share the weights that lie beside its manifest.
        Source::CoreMl(path) => beside(path, |_, _| true),
    }
}

/// Bytes of the files in the same directory that belong to the one at `path`, itself included.
fn beside(path: &Path, belongs: impl Fn(&str, &str) -> bool) -> Result<u64, EmbedError> {
    let failed = |source| EmbedError::Read {
        path: path.to_owned(),
        source,
    };
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    let mut sum: u64 = 0;
    for entry in directory.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if belongs(&entry.file_name().to_string_lossy(), &own) {
            // Of what a link points to.
            let bytes = entry.path().metadata().map_err(failed)?.len();
            sum = sum.saturating_add(bytes);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_data_and_shards_count() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("model.onnx", 1),
            ("model.onnx_data", 10),
            ("model_int8.onnx", 100),
            ("model.safetensors.index.json", 1000),
            ("model-1.safetensors", 10_000),
            ("model-2.safetensors", 100_000),
        ] {
            std::fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let onnx = |name: &str| bytes(&Source::Onnx(at(name))).unwrap();
        assert_eq!((onnx("model.onnx"), onnx("model_int8.onnx")), (11, 100));
        let safetensors = |name: &str| bytes(&Source::Safetensors(at(name))).unwrap();
        assert_eq!(safetensors("model.safetensors.index.json"), 110_000);
        assert_eq!(safetensors("model-1.safetensors"), 10_000);
    }

    #[test]
    fn a_model_says_what_it_says_when_it_is_loaded() {
        let path = akidb_testing::fixture("tiny-external");
        let builder = crate::Embedder::builder().model(path.to_string_lossy());
        let description = builder.describe().unwrap();
        let embedder = builder.build().unwrap();
        assert_eq!(description.model, embedder.model());
        assert_eq!(description.dimension, Some(embedder.dimension()));
        assert_eq!(description.max_tokens, Some(embedder.max_tokens()));
        let onnx = path.join("onnx/model.onnx").metadata().unwrap().len();
        assert!(description.weights_bytes > onnx);
        let none = crate::Embedder::builder().model("no-such-model").describe();
        assert!(matches!(none, Err(EmbedError::ModelNotFound { .. })));
    }
}

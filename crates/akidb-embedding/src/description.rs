//! What a model's files say of it, without loading it.

use crate::builder::EmbedderBuilder;
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings, Weights, WeightsSource};
use crate::options::Scoring;

/// What is known of a model that isn't loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDescription {
    /// Model id.
    pub model: String,
    /// Revision of the model's files, where known.
    pub revision: Option<String>,
    /// Which weight file.
    pub variant: String,
    /// Width of its vectors, where its files say it.
    pub dimension: Option<usize>,
    /// Longest text in tokens, where a file says it.
    pub max_tokens: Option<usize>,
    /// Size of the files with its weights.
    pub weights_bytes: u64,
    /// Whether it makes vectors: a reranker doesn't.
    pub embeds: bool,
    /// How it scores documents for a query, where nothing else is asked for.
    pub scoring: Scoring,
}

impl EmbedderBuilder {
    /// Finds the model and reads what its files say, but not its weights.
    ///
    /// ```
    /// let model = akidb_embedding::Embedder::builder().model("akidb-mini");
    /// let described = model.describe()?;
    /// assert_eq!(described.dimension, Some(256));
    /// assert!(described.embeds);
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
            weights_bytes: bytes(&weights)?,
            variant: weights.variant,
            dimension: settings.width(),
            max_tokens: settings.max_tokens,
            embeds: !settings.is_reranker(),
            scoring: match settings.scoring {
                Some(_) => Scoring::Model,
                None => Scoring::Cosine,
            },
            revision: files.revision,
            model: files.id,
        })
    }
}

fn bytes(weights: &Weights) -> Result<u64, EmbedError> {
    if let WeightsSource::OnnxBytes(bytes) = &weights.source {
        return Ok(bytes.len() as u64);
    }
    let mut sum: u64 = 0;
    for file in &weights.files {
        // Of what a link points to.
        match file.metadata() {
            Ok(metadata) => sum = sum.saturating_add(metadata.len()),
            // Loading the model tells that it is missing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                let path = file.clone();
                return Err(EmbedError::Read { path, source });
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(root: &std::path::Path, variant: &str) -> u64 {
        let files = ModelFiles::find(root.to_str()).unwrap();
        bytes(&files.weights(Some(variant)).unwrap()).unwrap()
    }

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
        let of = |variant| bytes_of(dir.path(), variant);
        assert_eq!((of("f32"), of("int8")), (11, 100));
        assert_eq!(of("safetensors"), 111_000);
        let shard = dir.path().join("model-1.safetensors");
        assert_eq!(bytes_of(&shard, "safetensors"), 10_000);
    }

    #[test]
    fn the_weights_of_graphs_for_coreml_count() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = r#"{"version": 1, "weights": "coreml/weights.onnx_data",
            "embed_tokens": {"file": "coreml/embed_tokens.safetensors", "tensor": "t"},
            "shapes": [{"file": "coreml/model_1x4.onnx", "batch": 1, "sequence": 4}]}"#;
        std::fs::create_dir(dir.path().join("coreml")).unwrap();
        std::fs::write(dir.path().join("coreml.json"), manifest).unwrap();
        for (name, bytes) in [
            ("tokenizer.json", 1_000_000),
            ("coreml/model_1x4.onnx", 10),
            ("coreml/embed_tokens.safetensors", 2_000),
            ("coreml/weights.onnx_data", 50_000),
        ] {
            std::fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
        }
        let expected = 52_010 + manifest.len() as u64;
        assert_eq!(bytes_of(dir.path(), "coreml"), expected);
        assert_eq!(
            bytes_of(&dir.path().join("coreml.json"), "coreml"),
            expected
        );
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

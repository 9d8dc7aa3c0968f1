//! Which of a model's weight files to use.

use std::path::{Path, PathBuf};

use akidb_models::{
    COREML, COREML_MANIFEST, ModelLayout, SAFETENSORS, SAFETENSORS_INDEX, canonical_variant,
    variant_name,
};
use akidb_onnx::model::OnnxModel;
use bytes::Bytes;

use super::builtin;
use super::coreml::coreml_graphs;
use super::files::{ModelFiles, ModelPlace};
use crate::error::EmbedError;

/// A weight file.
#[derive(Debug, Clone)]
pub struct Weights {
    /// `f32`, `fp16`, `int8`, `q4` …, `safetensors` or `coreml`.
    pub variant: String,
    /// Where they are.
    pub source: WeightsSource,
    /// All of their files, the one that a program opens last; none when they are part of the program.
    pub files: Vec<PathBuf>,
}

/// Where and in which format weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsSource {
    /// An ONNX file.
    Onnx(PathBuf),
    /// An ONNX file that is part of the program.
    OnnxBytes(&'static [u8]),
    /// A file, or the index of several.
    Safetensors(PathBuf),
    /// The manifest of graphs of fixed shapes.
    CoreMl(PathBuf),
}

impl WeightsSource {
    /// The file that a program opens; `None` when it is part of the program.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Onnx(path) | Self::Safetensors(path) | Self::CoreMl(path) => Some(path),
            Self::OnnxBytes(_) => None,
        }
    }

    /// Its graphs: one of an ONNX file, one for each shape of those for CoreML (none without the cargo
    /// feature `onnxruntime`), none of safetensors.
    ///
    /// # Errors
    /// When a file can't be read or is broken.
    pub fn graphs(&self) -> Result<Vec<OnnxModel>, akidb_onnx::Error> {
        Ok(match self {
            Self::Onnx(path) => vec![OnnxModel::open(path)?],
            Self::OnnxBytes(bytes) => vec![OnnxModel::from_bytes(Bytes::from_static(bytes))?],
            Self::Safetensors(_) => Vec::new(),
            Self::CoreMl(manifest) => coreml_graphs(manifest)?,
        })
    }
}

/// Best first: what loses least, then what runs on most backends.
const PREFERENCE: [&str; 10] = [
    "f32",
    "fp16",
    SAFETENSORS,
    "int8",
    "quantized",
    "uint8",
    "q4",
    "q4f16",
    "bnb4",
    COREML,
];

impl ModelFiles {
    /// The weight file of `variant`, or of the best variant there is.
    ///
    /// # Errors
    /// When there is none, or the directory can't be read.
    pub fn weights(&self, variant: Option<&str>) -> Result<Weights, EmbedError> {
        let mut found = self.variants()?;
        let wanted = variant.map(canonical_variant);
        let Some(wanted) = wanted else {
            return Ok(found.swap_remove(0));
        };
        match found.iter().position(|w| w.variant == wanted) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(EmbedError::UnknownVariant {
                model: self.id.clone(),
                variant: wanted.to_owned(),
                known: found.into_iter().map(|w| w.variant).collect(),
            }),
        }
    }

    /// All weight files, the best first; one at least.
    ///
    /// # Errors
    /// As [`Self::weights`].
    pub fn variants(&self) -> Result<Vec<Weights>, EmbedError> {
        let mut found = self.found()?;
        if found.is_empty() {
            return Err(EmbedError::NoWeights {
                directory: self.directory(),
            });
        }
        found.sort_by_key(|w| {
            let rank = PREFERENCE.iter().position(|p| *p == w.variant);
            (rank.unwrap_or(PREFERENCE.len()), w.variant.clone())
        });
        Ok(found)
    }

    fn found(&self) -> Result<Vec<Weights>, EmbedError> {
        let (root, named) = match &self.place {
            ModelPlace::BuiltIn => {
                let bytes = builtin::file(builtin::WEIGHTS).unwrap_or_default();
                return Ok(vec![Weights {
                    variant: variant_of(Path::new(builtin::WEIGHTS)),
                    source: WeightsSource::OnnxBytes(bytes),
                    files: Vec::new(),
                }]);
            }
            ModelPlace::Directory { root, weights } => (root, weights),
        };
        if let Some(file) = named {
            let source = source(file).ok_or_else(|| {
                EmbedError::Unsupported(format!(
                    "{} is neither a directory nor an .onnx or .safetensors file",
                    file.display()
                ))
            })?;
            return Ok(vec![Weights {
                variant: match source {
                    WeightsSource::Safetensors(_) => SAFETENSORS.to_owned(),
                    WeightsSource::CoreMl(_) => COREML.to_owned(),
                    _ => variant_of(file),
                },
                source,
                files: ModelLayout::weights_in(file)?,
            }]);
        }
        let weights = |variant: akidb_models::Variant| {
            let files = variant.files.iter().map(|file| file.under(root));
            let files: Vec<_> = files.collect();
            Some(Weights {
                variant: variant.name,
                source: source(files.last()?)?,
                files,
            })
        };
        let variants = self.layout()?.variants.into_iter();
        Ok(variants.filter_map(weights).collect())
    }
}

/// What a program opens at `file`, by its name.
fn source(file: &Path) -> Option<WeightsSource> {
    let has = |extension: &str| file.extension().is_some_and(|e| e == extension);
    if has("onnx") {
        Some(WeightsSource::Onnx(file.to_owned()))
    } else if has(SAFETENSORS) || file.ends_with(SAFETENSORS_INDEX) {
        Some(WeightsSource::Safetensors(file.to_owned()))
    } else if file.ends_with(COREML_MANIFEST) {
        Some(WeightsSource::CoreMl(file.to_owned()))
    } else {
        None
    }
}

fn variant_of(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy());
    variant_name(&stem.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(files: &[&str]) -> (tempfile::TempDir, ModelFiles) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("onnx")).unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let files = ModelFiles::at("m".to_owned(), dir.path().to_owned(), None);
        (dir, files)
    }

    #[test]
    fn the_most_exact_variant_is_the_default() {
        let (dir, files) = model(&[
            "onnx/model_q4.onnx",
            "onnx/model_fp16.onnx",
            "model.safetensors",
            "onnx/model_odd.onnx",
        ]);
        assert_eq!(files.weights(None).unwrap().variant, "fp16");
        assert_eq!(files.weights(Some("f16")).unwrap().variant, "fp16");
        assert_eq!(files.weights(Some("odd")).unwrap().variant, "odd");
        assert_eq!(
            files.weights(Some("safetensors")).unwrap().source,
            WeightsSource::Safetensors(dir.path().join("model.safetensors"))
        );
    }

    #[test]
    fn a_missing_variant_names_those_that_exist() {
        let (_dir, files) = model(&["onnx/model_q4.onnx", "model.onnx"]);
        let error = files.weights(Some("int8")).unwrap_err();
        assert_eq!(error.to_string(), "m has no variant \"int8\"");
        assert_eq!(error.hint().unwrap().to_string(), "it has: f32, q4");
    }

    #[test]
    fn a_directory_without_weights_says_what_it_needs() {
        let (_dir, files) = model(&[]);
        assert!(
            files
                .weights(None)
                .unwrap_err()
                .hint()
                .unwrap()
                .to_string()
                .contains("model.onnx")
        );
    }
}

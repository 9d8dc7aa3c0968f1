//! The model that is part of the binary.

pub use akidb_models::BUILTIN_MODEL;

/// Where its weights lie among its files.
pub(super) const WEIGHTS: &str = "onnx/model_fp16.onnx";

/// Whether it is.
pub(super) const IS_HERE: bool = cfg!(feature = "builtin");

/// Changes whenever one of the files does.
pub(super) const REVISION: &str = "1";

#[cfg(feature = "builtin")]
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../../models/akidb-mini/", $name)))),*]
    };
}

#[cfg(feature = "builtin")]
static FILES: &[(&str, &[u8])] = files![
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "onnx/model_fp16.onnx",
];

#[cfg(not(feature = "builtin"))]
static FILES: &[(&str, &[u8])] = &[];

/// Names of its files.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

pub(super) fn file(name: &str) -> Option<&'static [u8]> {
    FILES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, bytes)| *bytes)
}

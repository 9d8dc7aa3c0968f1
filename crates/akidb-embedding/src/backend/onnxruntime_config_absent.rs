//! A program without ONNX Runtime has nothing to set.

/// Nothing can be chosen.
#[derive(Debug, Clone, Default)]
pub(crate) struct OnnxRuntimeConfig;

impl OnnxRuntimeConfig {
    pub(crate) fn names_a_provider(&self) -> bool {
        false
    }
}

//! What a backend says of the model it holds.

use crate::Pooling;

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// `native`, `rten` or `onnxruntime`.
    pub backend: &'static str,
    /// Arithmetic of the linear layers, e.g. `f32`.
    pub precision: &'static str,
    /// What it runs on: a CPU tier such as `avx512`, or an execution provider.
    pub device: String,
    /// Width of a row.
    pub hidden_size: usize,
    /// Token ids are below this, where the model says so.
    pub vocab_size: Option<usize>,
    /// Longest text in tokens, where the model says so.
    pub max_tokens: Option<usize>,
    /// How rows are pooled.
    pub pooling: Pooling,
    /// What the model's graph does by itself, and what it wants beside the texts.
    pub graph: GraphInterface,
}

/// What differs from graph to graph. The default is that of an engine that has its own forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GraphInterface {
    /// It gives one row a text: [`BackendInfo::pooling`] is without effect.
    pub pools: bool,
    /// It has adaptations, and wants the number of one ([`TokenBatch::task`](crate::TokenBatch::task)).
    pub takes_task: bool,
    /// It adds up a bag of tokens, which knows no special ones: texts are given without.
    pub is_bag: bool,
}

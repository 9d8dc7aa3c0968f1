//! AkiDB's contract for embedding services, and the provider that fulfils it with this library.

mod builder;
mod contract;
mod errors;
mod onnx;
mod queue;

pub use builder::OnnxEmbeddingProviderBuilder;
pub use contract::{
    BatchEmbeddingRequest, BatchEmbeddingResponse, EmbeddingError, EmbeddingProvider,
    EmbeddingResult, ModelInfo, Usage,
};
pub use onnx::OnnxEmbeddingProvider;

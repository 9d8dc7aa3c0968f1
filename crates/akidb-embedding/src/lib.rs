//! Text to vectors with Qwen3-Embedding and other ONNX models, on plain CPUs.
//!
//! [`Embedder`] is the library: it finds a model, tokenizes, runs it and gives vectors.
//! [`OnnxEmbeddingProvider`] puts it behind AkiDB's [`EmbeddingProvider`] contract.
//!
//! On the native backend a text's vector is the same, bit for bit, alone or in any batch, at any
//! number of threads.
#![forbid(unsafe_code)]

mod backend;
mod builder;
mod description;
pub mod diagnostics;
mod distinct;
mod embedder;
pub mod env;
mod error;
pub mod files;
mod model;
pub mod onnxruntime;
mod options;
mod packed;
mod passes;
mod prompt;
mod provider;
mod response;
mod steps;
mod tokenizer;
mod vectors;

pub use backend::{BackendChoice, Precision, has_bf16};
pub use builder::EmbedderBuilder;
pub use description::ModelDescription;
pub use embedder::Embedder;
pub use error::{ConfigError, EmbedError};
pub use model::{BUILTIN_MODEL, model_store};
pub use options::{EmbedOptions, Input, OnLong};
pub use packed::packed_weights_of;
pub use prompt::{Prompt, Role};
pub use provider::{
    BatchEmbeddingRequest, BatchEmbeddingResponse, EmbeddingError, EmbeddingProvider,
    EmbeddingResult, ModelInfo, OnnxEmbeddingProvider, OnnxEmbeddingProviderBuilder, Usage,
};
pub use response::{EmbedResponse, Embedding, Provenance};
pub use steps::States;
pub use tokenizer::{Piece, PiecesProgress, Progress, Tokens};
pub use vectors::{Encoding, Values, encode, similarity};

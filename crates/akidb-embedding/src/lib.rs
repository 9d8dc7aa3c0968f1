//! Text to vectors with Qwen3-Embedding and other ONNX models, on plain CPUs.
//!
//! [`Embedder`] is the library: it finds a model, tokenizes, runs it and gives vectors.
//! [`OnnxEmbeddingProvider`] puts it behind AkiDB's [`EmbeddingProvider`] contract.
//!
//! ```
//! # #[cfg(feature = "builtin")] {
//! use akidb_embedding::{EmbedOptions, Embedder, top_k};
//!
//! let embedder = Embedder::builder().model("akidb-mini").build()?;
//! let documents = ["continue an interrupted transfer", "bake a chocolate cake"];
//! let vectors = embedder.vectors(&documents, &EmbedOptions::default())?;
//! let queries = embedder.vectors(&["how do I resume a download"], &EmbedOptions::query())?;
//! let nearest = top_k(&queries[0], &vectors, 1);
//! assert_eq!(documents[nearest[0].index], "continue an interrupted transfer");
//! # }
//! # Ok::<(), akidb_embedding::EmbedError>(())
//! ```
//!
//! On the native backend a text's vector is the same, bit for bit, alone or in any batch, at any
//! number of threads.
//!
//! Cargo features, all of them on unless said otherwise: `builtin` (the model `akidb-mini` as a part of
//! the program), `rten` and `onnxruntime` (backends for models that the native engine doesn't run),
//! `provider` (AkiDB's contract, and a queue for many callers), `hub` (models are fetched; off).
#![forbid(unsafe_code)]

mod backend;
mod builder;
mod checksum;
mod description;
pub mod diagnostics;
mod distinct;
mod embedder;
pub mod env;
mod error;
pub mod files;
mod hint;
#[cfg(feature = "hub")]
pub mod hub;
mod model;
mod options;
mod packed;
#[cfg(feature = "provider")]
mod passes;
mod prompt;
#[cfg(feature = "provider")]
mod provider;
mod rerank;
mod response;
mod roles;
mod steps;
mod tokenize;
mod tokenizer;
mod vectors;

#[doc(hidden)]
pub use akidb_backend::choice;
pub use akidb_backend::{Choice, Pooling, UnknownChoice};
#[cfg(feature = "onnxruntime")]
pub use backend::onnxruntime;
pub use backend::{BackendChoice, Precision, has_bf16};
pub use builder::EmbedderBuilder;
pub use description::ModelDescription;
pub use embedder::Embedder;
#[cfg(feature = "onnxruntime")]
pub use error::ConfigError;
pub use error::EmbedError;
pub use hint::Hint;
pub use model::{BUILTIN_MODEL, default_model, model_store};
pub use options::{EmbedOptions, Input, OnLong, Scoring};
pub use packed::packed_weights_of;
#[cfg(feature = "provider")]
pub use passes::PassText;
pub use prompt::{Prompt, Role};
#[cfg(feature = "provider")]
pub use provider::{
    BatchEmbeddingRequest, BatchEmbeddingResponse, EmbeddingError, EmbeddingProvider,
    EmbeddingResult, ModelInfo, OnnxEmbeddingProvider, OnnxEmbeddingProviderBuilder, Usage,
};
pub use rerank::{PairQuery, RerankOptions, Reranker, RerankerBuilder, Score};
pub use response::{EmbedResponse, Embedding, Matryoshka, Provenance};
pub use steps::States;
pub use tokenizer::{Piece, PiecesProgress, Progress, Tokens};
pub use vectors::{Encoding, Match, Values, encode, similarity, top_k};

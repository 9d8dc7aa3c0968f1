//! What the library promises, through its front door.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;
#[cfg(all(feature = "onnxruntime", feature = "rten"))]
mod coreml;
#[cfg(feature = "rten")]
mod encoders;
#[cfg(all(feature = "builtin", feature = "rten"))]
mod every_token;
#[cfg(not(all(feature = "builtin", feature = "onnxruntime", feature = "rten")))]
mod features;
#[cfg(all(feature = "onnxruntime", feature = "rten"))]
mod forms;
#[cfg(feature = "builtin")]
mod goldens;
#[cfg(feature = "builtin")]
mod meaning;
#[cfg(all(feature = "onnxruntime", feature = "rten"))]
mod minilm;
#[cfg(all(feature = "onnxruntime", feature = "rten"))]
mod onnxruntime;
mod pair_templates;
mod per_text_errors;
#[cfg(all(feature = "builtin", feature = "provider"))]
mod provider;
mod rerank;
#[cfg(all(feature = "builtin", feature = "rten"))]
mod rten_agrees;
#[cfg(feature = "builtin")]
mod same_bits;
#[allow(dead_code, reason = "which tests use it depends on the features")]
mod unknown_form;

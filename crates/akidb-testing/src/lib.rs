//! Test helpers of the workspace: where fixtures are, what the reference answered, how close an answer is.
//!
//! Goldens come from PyTorch; README.md says which script made each.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a dev-only crate: a missing or broken fixture must stop the test with a clear message"
)]

mod compare;
mod golden;
#[cfg(feature = "graphs")]
pub mod graphs;
#[cfg(feature = "hub")]
mod hub;
mod path;
mod skip;

pub use compare::{cosine, max_abs_diff};
pub use golden::{
    FormGolden, Golden, HiddenGolden, Pair, PairGolden, PairTemplateGolden, TokenGolden,
    akidb_mini_goldens, form_goldens, hidden_goldens, minilm_goldens, pair_goldens,
    pair_template_goldens, pairs, tiny_text_goldens, token_goldens,
};
#[cfg(feature = "hub")]
pub use hub::{Faults, HubFile, Logged, TestHub, TestProxy};
pub use path::{
    builtin_model_dir, fixture, mini_variants, minilm, onnxruntime_library, qwen3_tokenizer,
};
pub use skip::skip;

//! Finding a model's files and reading what they say of it.

mod builtin;
mod chat_template;
mod config;
mod coreml;
mod files;
mod modules;
mod pooling;
mod resolve;
mod scoring;
mod settings;
mod tasks;
mod variants;

pub use builtin::BUILTIN_MODEL;
pub(crate) use chat_template::ChatTemplateFile;
pub use files::ModelFiles;
pub(crate) use pooling::PoolingFrom;
pub(crate) use resolve::all;
pub use resolve::{default_model, model_store};
pub(crate) use scoring::{Activation, Classifier, LogitTokens, ScoringHead};
pub(crate) use settings::{Settings, TruncationSide};
pub use variants::{Weights, WeightsSource};

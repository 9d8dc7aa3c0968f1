//! Finding a model's files and reading what they say of it.

mod builtin;
mod files;
mod resolve;
mod settings;
mod variants;

pub use builtin::BUILTIN_MODEL;
pub(crate) use files::ModelFiles;
pub use resolve::model_store;
pub(crate) use resolve::{all, resolve};
pub(crate) use settings::Settings;
pub(crate) use variants::{Source, Weights};

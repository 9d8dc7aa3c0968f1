//! Finding a model's files and reading what they say of it.

mod builtin;
mod files;
mod resolve;
mod settings;
mod variants;

pub use builtin::BUILTIN_MODEL;
pub use files::ModelFiles;
pub(crate) use resolve::all;
pub use resolve::model_store;
pub(crate) use settings::Settings;
pub use variants::{Source, Weights};

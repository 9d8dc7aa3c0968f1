//! The modules that a pipeline of sentence-transformers has.

use serde::Deserialize;

use super::files::ModelFiles;
use crate::error::EmbedError;

pub(super) const MODULES: &str = "modules.json";

/// An entry of modules.json.
#[derive(Debug, Deserialize)]
pub(super) struct Module {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) path: String,
}

impl Module {
    /// The last part of its type: the packages before it differ from version to version.
    pub(super) fn name(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }

    pub(super) fn config(&self) -> Option<String> {
        (!self.path.is_empty()).then(|| format!("{}/config.json", self.path.trim_end_matches('/')))
    }
}

/// `None` where there is no such file.
pub(super) fn modules(files: &ModelFiles) -> Result<Option<Vec<Module>>, EmbedError> {
    files.json(MODULES)
}

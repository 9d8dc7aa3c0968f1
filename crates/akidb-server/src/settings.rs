//! Everything that can be set, with its defaults.

use std::net::SocketAddr;

use akidb_embedding::EmbedderBuilder;

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The models, at least one; the first answers requests that name none.
    pub models: Vec<ModelSettings>,
    /// Most tokens of one pass of a model.
    pub max_batch_tokens: usize,
    /// Most texts of one request.
    pub max_client_batch_size: usize,
}

/// One model and how it is run.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// The name by which requests ask for it.
    pub name: String,
    /// How it is loaded.
    pub builder: EmbedderBuilder,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            models: Vec::new(),
            max_batch_tokens: 16_384,
            max_client_batch_size: 1_024,
        }
    }
}

//! HTTP: one file an interface.

mod openai;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::console;
use crate::service::EmbeddingService;

/// All routes.
pub fn router(service: Arc<EmbeddingService>) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .merge(openai::routes())
        .merge(console::routes())
        .with_state(service)
}

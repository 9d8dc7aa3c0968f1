//! HTTP: one file an interface.

mod openai;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::console;
use crate::lifecycle::Lifecycle;
use crate::service::EmbeddingService;

/// All routes, for a server of one's own; [`Server`](crate::Server) listens, too.
pub fn router(service: Arc<EmbeddingService>) -> Router {
    routes(service, Lifecycle::always_ready())
}

pub(crate) fn routes(service: Arc<EmbeddingService>, lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/health/live", get(|| async { "ok" }))
        .route(
            "/health/ready",
            get(move || async move { lifecycle.ready() }),
        )
        .merge(openai::routes())
        .merge(console::routes())
        .with_state(service)
}

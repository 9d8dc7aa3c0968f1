//! All that is answered, and what stands around it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::exporter;
use crate::grpc;
use crate::http;
use crate::lifecycle::Lifecycle;
use crate::middleware::{Keys, around};
use crate::service::EmbeddingService;

/// All routes and what stands around them, for a server of one's own: without API keys, and always
/// ready. [`Server`](crate::Server) has both, and listens.
pub fn router(service: Arc<EmbeddingService>) -> Router {
    app(service, Lifecycle::always_ready(), None)
}

pub(crate) fn app(
    service: Arc<EmbeddingService>,
    lifecycle: Lifecycle,
    keys: Option<Keys>,
) -> Router {
    exporter::start();
    let ready = lifecycle.clone();
    let room = service.room().clone();
    let routes = http::routes(Arc::clone(&service))
        .route("/health/live", get(|| async { "ok" }))
        .route("/health/ready", get(move || async move { ready.ready() }))
        .route(
            exporter::METRICS,
            get(move || async move { exporter::metrics(&room) }),
        )
        .merge(grpc::routes(Arc::clone(&service), lifecycle));
    around(routes, &service, keys)
}

//! HTTP: one file an interface.

mod answer;
mod ask;
mod body;
mod cohere;
mod docs;
mod errors;
mod inputs;
mod interface;
mod ollama;
mod openai;
mod problem;
mod schemas;
mod tei;
mod truncate;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Router, middleware};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::console;
use crate::lifecycle::Lifecycle;
use crate::service::EmbeddingService;
use problem::{Cause, Problem};

/// All routes, for a server of one's own; [`Server`](crate::Server) listens, too.
pub fn router(service: Arc<EmbeddingService>) -> Router {
    routes(service, Lifecycle::always_ready())
}

pub(crate) fn routes(service: Arc<EmbeddingService>, lifecycle: Lifecycle) -> Router {
    let max_body_bytes = service.settings().max_body_bytes;
    let (routes, mut document) = OpenApiRouter::with_openapi(docs::Document::openapi())
        .merge(openai::routes())
        .merge(tei::routes())
        .merge(ollama::routes())
        .merge(cohere::routes())
        .split_for_parts();
    docs::Common.modify(&mut document);
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/health/live", get(|| async { "ok" }))
        .route(
            "/health/ready",
            get(move || async move { lifecycle.ready() }),
        )
        .merge(routes)
        .merge(console::routes())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(|| async { Problem::new(Cause::NotFound, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Cause::Method, "this route takes other methods")
        })
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(middleware::from_fn(errors::in_the_interfaces_words))
        .with_state(service)
}

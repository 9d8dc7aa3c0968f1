//! HTTP: one file an interface.

mod answer;
pub(crate) mod ask;
mod body;
mod cohere;
mod docs;
pub(crate) mod errors;
mod inputs;
pub(crate) mod interface;
mod ollama;
mod openai;
pub(crate) mod problem;
mod schemas;
pub(crate) mod tei;
mod truncate;

pub(crate) use inputs::MOST_INPUTS;

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::console;
use crate::service::EmbeddingService;
use problem::{Cause, Problem};

/// When the server started, as far as clients are told: models have no time of their own.
static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// All routes; what is wrong is a [`Problem`], without the words of its interface.
pub(crate) fn routes(service: Arc<EmbeddingService>) -> Router {
    LazyLock::force(&STARTED);
    let (routes, mut document) = OpenApiRouter::with_openapi(docs::Document::openapi())
        .merge(openai::routes())
        .merge(tei::routes())
        .merge(ollama::routes())
        .merge(cohere::routes())
        .split_for_parts();
    docs::Common.modify(&mut document);
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .merge(routes)
        .merge(console::routes())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(|| async { Problem::new(Cause::NotFound, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Cause::Method, "this route takes other methods")
        })
        // What stands around all routes has its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

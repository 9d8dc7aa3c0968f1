//! Health and metrics: what operators' programs ask for.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::Method;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::exporter::{self, METRICS};
use crate::interface::{Head, Interface, Parts};
use crate::lifecycle::Lifecycle;
use crate::service::EmbeddingService;

pub(crate) struct Operation;

/// Whether a path is this one, or below it.
fn is_under(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where health is told.
fn is_health(path: &str) -> bool {
    is_under(path, "/health") || path == "/ping"
}

/// The OpenAPI document, and the page to read it with.
pub(crate) const DOCUMENT: &str = "/openapi.json";
pub(crate) const DOCUMENT_PAGE: &str = "/docs";

fn is_document(path: &str) -> bool {
    path == DOCUMENT || is_under(path, DOCUMENT_PAGE)
}

impl Interface for Operation {
    fn name(&self) -> &'static str {
        "operation"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        is_health(path) || path == METRICS || is_document(path)
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("Operation", "Health, metrics and the console"))
    }

    fn routes(&self, server: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(health))
            .routes(routes!(live))
            .routes(routes!(ping))
            .routes(routes!(ready))
            .routes(routes!(metrics))
            .layer(Extension(server.lifecycle.clone()))
    }

    /// Probes have no key.
    fn is_open(&self, _: &Method, path: &str) -> bool {
        is_health(path) || is_document(path)
    }

    fn is_quiet(&self) -> bool {
        true
    }
}

/// Whether the server answers at all.
#[utoipa::path(get, path = "/health", tag = "Operation",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn health() -> &'static str {
    "ok"
}

/// Whether the server answers at all.
#[utoipa::path(get, path = "/health/live", tag = "Operation",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn live() -> &'static str {
    "ok"
}

/// Whether the server answers at all, where hosted endpoints ask for it.
#[utoipa::path(get, path = "/ping", tag = "Operation",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn ping() -> &'static str {
    "ok"
}

/// Whether requests should be sent to this server.
#[utoipa::path(get, path = "/health/ready", tag = "Operation",
    responses(
        (status = 200, description = "They should"),
        (status = 503, description = "It is starting or stopping"),
    ))]
async fn ready(Extension(lifecycle): Extension<Lifecycle>) -> Response {
    lifecycle.ready()
}

/// What Prometheus collects.
#[utoipa::path(get, path = "/metrics", tag = "Operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")))]
async fn metrics(State(service): State<Arc<EmbeddingService>>) -> Response {
    exporter::metrics(&service)
}

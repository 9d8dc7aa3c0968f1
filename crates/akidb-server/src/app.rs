//! All that is answered, and what stands around it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::document;
use crate::exporter;
use crate::interface::Parts;
use crate::interfaces::INTERFACES;
use crate::lifecycle::Lifecycle;
use crate::middleware::{Keys, around};
use crate::operation::{DOCUMENT, DOCUMENT_PAGE};
use crate::problem::{Cause, Problem};
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
    let server = Parts { service, lifecycle };
    let mut routes = OpenApiRouter::with_openapi(document::head());
    for interface in INTERFACES {
        routes = routes.merge(interface.routes(&server));
    }
    let (routes, mut document) = routes.split_for_parts();
    document::complete(&mut document);
    let routes = routes
        .merge(SwaggerUi::new(DOCUMENT_PAGE).url(DOCUMENT, document))
        .fallback(|| async { Problem::new(Cause::NotFound, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Cause::Method, "this route takes other methods")
        })
        // What stands around all routes has its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&server.service));
    around(routes, &server.service, keys)
}

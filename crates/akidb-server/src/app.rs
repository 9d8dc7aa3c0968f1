//! All that is answered, and what stands around it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::document;
use crate::exporter;
use crate::interface::Parts;
use crate::interfaces::INTERFACES;
use crate::lifecycle::Lifecycle;
use crate::middleware::{Keys, Sites, around};
use crate::operation::{DOCUMENT, DOCUMENT_PAGE};
use crate::problem::{Cause, Problem};
use crate::service::EmbeddingService;

/// All routes and what stands around them, for a server of one's own: without API keys, for pages of any
/// site, and always ready. [`Server`](crate::Server) sees to all of that, and listens.
pub fn router(service: Arc<EmbeddingService>) -> Router {
    app(service, Lifecycle::always_ready(), None, None)
}

pub(crate) fn app(
    service: Arc<EmbeddingService>,
    lifecycle: Lifecycle,
    keys: Option<Keys>,
    sites: Option<Sites>,
) -> Router {
    exporter::start();
    let server = Parts { service, lifecycle };
    let mut routes = OpenApiRouter::with_openapi(document::head());
    for interface in INTERFACES {
        routes = routes.merge(interface.routes(&server));
    }
    let (routes, mut document) = routes.split_for_parts();
    document::complete(&mut document);
    let paths: Arc<[String]> = document.paths.paths.keys().cloned().collect();
    let routes = routes
        .merge(SwaggerUi::new(DOCUMENT_PAGE).url(DOCUMENT, document))
        .fallback(move |request: Request| async move { no_route(request.uri().path(), &paths) })
        .method_not_allowed_fallback(|| async {
            Problem::new(Cause::Method, "this route takes other methods")
        })
        // What stands around all routes has its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&server.service));
    around(routes, &server.service, keys, sites)
}

/// From here on, two paths are alike.
const ALIKE: f64 = 0.6;

fn no_route(path: &str, known: &[String]) -> Problem {
    let message = match nearest(path, known) {
        Some(nearest) => format!("there is no route {path:?}: is {nearest} meant?"),
        None => "there is no such route: /docs has those that there are".to_owned(),
    };
    Problem::new(Cause::NotFound, message)
}

/// The route that may be meant: the one that the path ends with, or that is most alike.
fn nearest<'a>(path: &str, known: &'a [String]) -> Option<&'a str> {
    let known = || {
        known
            .iter()
            .map(String::as_str)
            .filter(|known| *known != "/")
    };
    let ends = known().filter(|known| path.ends_with(known));
    ends.max_by_key(|known| known.len()).or_else(|| {
        // Long paths take long to compare.
        let path = path.get(..path.len().min(100)).unwrap_or_default();
        let alike = |known| (strsim::normalized_damerau_levenshtein(path, known), known);
        let (how, nearest) = known().map(alike).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (how >= ALIKE).then_some(nearest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_that_is_meant_is_named() {
        let paths = ["/", "/embed", "/v1/embeddings", "/embeddings", "/api/embed"];
        let paths = paths.map(str::to_owned);
        for (path, expected) in [
            ("/v1/embedding", Some("/v1/embeddings")),
            ("/openai/v1/embeddings", Some("/v1/embeddings")),
            ("/v1/api/embed", Some("/api/embed")),
            ("/v2/embeddings", Some("/embeddings")),
            ("/embedding", Some("/embeddings")),
            ("/favicon.ico", None),
            ("/é/ü", None),
        ] {
            assert_eq!(nearest(path, &paths), expected, "{path}");
        }
    }
}

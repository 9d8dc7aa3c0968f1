//! What every request passes through, whatever its interface.

mod access;
mod answer;
mod body;
mod leftover;
mod limits;
mod observe;
mod path;
mod site;

use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Method};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

pub use access::AccessError;
pub(crate) use access::Keys;
pub(crate) use site::Sites;

use crate::interfaces::{self, INTERFACES};
use crate::problem::{Cause, Problem};
use crate::service::EmbeddingService;
use crate::unknown::{self, UNKNOWN_FIELDS};
use limits::Limits;

/// Puts everything around the routes; without keys, everybody is answered.
pub(crate) fn around(
    routes: Router,
    service: &EmbeddingService,
    keys: Option<Keys>,
    sites: Option<Sites>,
) -> Router {
    let settings = service.settings();
    let limits = Limits::new(settings, service.room().clone());
    let mut routes = routes
        .layer(CatchPanicLayer::custom(|_| {
            Problem::new(Cause::Model, "the server failed unexpectedly").into_response()
        }))
        .layer(from_fn_with_state(settings.strict, unknown::tell))
        .layer(from_fn_with_state(limits, limits::limit));
    if let Some(keys) = keys {
        routes = routes.layer(from_fn_with_state(keys, access::authorize));
    }
    if let Some(sites) = sites {
        routes = routes.layer(from_fn_with_state(sites, site::check));
    }
    routes = routes.layer(from_fn(in_the_callers_words));
    if !settings.cors_origins.is_empty() {
        routes = routes.layer(cors(&settings.cors_origins));
    }
    let routes = routes
        .layer(from_fn(leftover::read))
        .layer(from_fn(observe::observe));
    // Layers stand behind the choice of a route: this one has to stand before it.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn(path::tidy))
}

/// Gives a [`Problem`] the form that the caller's programs know.
async fn in_the_callers_words(request: Request, next: Next) -> Response {
    let interface = interfaces::of(&request);
    interface.finish(next.run(request).await)
}

fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| origin.parse::<HeaderValue>().ok()),
        )
    };
    let exposed = INTERFACES.iter().flat_map(|interface| interface.exposes());
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        // Clients' programs have headers of their own.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [RETRY_AFTER, REQUEST_ID, UNKNOWN_FIELDS]
                .into_iter()
                .chain(exposed.cloned())
                .collect::<Vec<_>>(),
        )
        .max_age(std::time::Duration::from_secs(3600))
}

/// Tells one request in logs and traces; the client's own where it sends one.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

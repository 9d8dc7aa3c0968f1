//! What the rest of the server has to know of an interface.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::lifecycle::Lifecycle;
use crate::problem::Problem;
use crate::room::Reserved;
use crate::service::EmbeddingService;

/// Words that clients speak: everything that differs from one to the other.
pub(crate) trait Interface: Send + Sync {
    /// As metrics call it.
    fn name(&self) -> &'static str;

    /// Whether a request is in its words.
    fn owns(&self, head: Head<'_>) -> bool;

    /// Its routes, with their part of the OpenAPI document.
    fn routes(&self, server: &Parts) -> OpenApiRouter<Arc<EmbeddingService>>;

    /// Under which name its routes stand in the document, and what it is.
    fn tag(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// A problem as its clients expect it.
    fn words(&self, problem: &Problem) -> Response {
        let error = problem.message.clone().into_owned();
        (problem.cause.status(), Json(PlainError { error })).into_response()
    }

    /// The schema of its errors in the document.
    fn error_schema(&self) -> &'static str {
        "PlainError"
    }

    /// What leaves the server: problems get their words.
    fn finish(&self, response: Response) -> Response {
        let Some(problem) = response.extensions().get::<Problem>() else {
            return response;
        };
        problem.count();
        let mut worded = self.words(problem);
        let headers = worded.headers_mut();
        // Others' headers stay: Allow where the method was wrong.
        for (name, value) in response.headers() {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if let Some(wait) = problem.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
        }
        worded
    }

    /// A response's status, as metrics call it.
    fn status(&self, response: &Response) -> String {
        response.status().as_str().to_owned()
    }

    /// Whether a request needs no API key.
    fn is_open(&self, _method: &Method, _path: &str) -> bool {
        false
    }

    /// Whether its requests are told in the log only to who wants to know everything.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Headers of its answers that other sites' pages may read.
    fn exposes(&self) -> &'static [HeaderName] {
        &[]
    }

    /// How a request comes.
    fn transfer(&self, _request: &Request) -> Transfer {
        Transfer::default()
    }
}

/// The error of routes that are in nobody's words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlainError {
    /// What is wrong.
    error: String,
}

/// The head of a request, or of one that could come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// What routes are made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) service: Arc<EmbeddingService>,
    pub(crate) lifecycle: Lifecycle,
}

/// How a request comes, where it isn't as most do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Transfer {
    /// How long the client waits.
    pub(crate) timeout: Option<Duration>,
    /// Bytes of a body that don't count as its own.
    pub(crate) framing: u64,
    /// The client may wait for an answer before it ends its side.
    pub(crate) two_way: bool,
    /// Where messages follow each other in one body, each with its own answer: what watches them.
    pub(crate) messages: Option<Watch>,
}

/// Makes of a body one whose messages each come within a time, and are counted.
pub(crate) type Watch = fn(Body, Duration, Arc<Reserved>) -> Body;

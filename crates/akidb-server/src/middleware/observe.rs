//! What is told of each request: its id, a log line, metrics, a span for traces.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

use super::REQUEST_ID;
use crate::caller::Caller;
use crate::interface::Interface;
use crate::interfaces;
use crate::server::Peer;

/// Longest id of a client's that is taken over.
const MAX_ID: usize = 128;

/// Tells of a request when it ends, however it ends.
struct Observed {
    start: Instant,
    interface: &'static dyn Interface,
    method: axum::http::Method,
    span: Span,
    /// HTTP's status code, or gRPC's name for its own.
    status: Option<String>,
}

pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = id(request.headers());
    let interface = interfaces::of(&request);
    let peer = request.extensions().get::<Peer>();
    let client: Arc<str> = peer.map_or_else(|| "".into(), |peer| peer.0.ip().to_string().into());
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        client = &*client,
        path = request.uri().path(),
    );
    request.extensions_mut().insert(Caller {
        client,
        ..Caller::default()
    });
    #[cfg(feature = "otlp")]
    crate::traces::adopt(&span, request.headers());
    let mut observed = Observed {
        start,
        interface,
        method: request.method().clone(),
        span: span.clone(),
        status: None,
    };
    let mut response = next.run(request).instrument(span).await;
    observed.status = Some(interface.status(&response));
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

impl Drop for Observed {
    fn drop(&mut self) {
        // The client went before its answer was there: the number is that of nginx.
        let status = self.status.take().unwrap_or_else(|| "499".to_owned());
        let seconds = self.start.elapsed().as_secs_f64();
        let interface = self.interface.name();
        self.span.in_scope(|| {
            let milliseconds = (seconds * 1e6).round() / 1e3;
            if self.interface.is_quiet() {
                tracing::debug!(method = %self.method, status, milliseconds, "answered");
            } else {
                tracing::info!(method = %self.method, status, milliseconds, "answered");
            }
        });
        let labels: [(&str, metrics::SharedString); 2] =
            [("interface", interface.into()), ("status", status.into())];
        metrics::histogram!("akidb_request_duration_seconds", &labels).record(seconds);
        metrics::counter!("akidb_requests_total", &labels).increment(1);
    }
}

/// The client's id, or one that nobody else has.
fn id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=MAX_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    own.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_id_is_taken_over_where_it_is_one() {
        let id_for = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                REQUEST_ID,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
            id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id_for("abc-123"), "abc-123");
        for wrong in ["", "two words", "ümlaut", &"x".repeat(129)] {
            assert_eq!(id_for(wrong).len(), 36, "{wrong}");
        }
        assert_ne!(id_for(""), id_for(""));
    }
}

//! What is left of a request's body when its answer is there.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Version;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::limits::swallow;
use crate::grpc;

/// Reads and drops over HTTP/2 what nobody read. Otherwise the stream is reset behind its answer,
/// as RFC 9113 (8.1) allows, and some clients (curl before 8) then lose the answer.
pub(crate) async fn read(request: Request, next: Next) -> Response {
    // A gRPC stream's client waits for answers before it ends its own side.
    let is_call = grpc::is_grpc(request.headers());
    if request.version() != Version::HTTP_2 || is_call || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let left = Left::default();
    let lent = |body| Lent {
        body,
        left: left.clone(),
    };
    let answer = next.run(request.map(|body| Body::new(lent(body)))).await;
    let body = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = body {
        swallow(body).await;
    }
    answer
}

type Left = Arc<Mutex<Option<Body>>>;

/// A body that is given back when it is dropped before its end.
struct Lent {
    body: Body,
    left: Left,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = Some(std::mem::take(&mut self.body));
        }
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

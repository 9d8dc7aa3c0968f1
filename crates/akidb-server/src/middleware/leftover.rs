//! What is left of a request's body when its answer is there.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::http::{StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use http_body::{Body as _, Frame, SizeHint};

use crate::interfaces;

/// How long a client that sends what nobody reads is listened to, so that it gets to read the answer.
const LINGER: Duration = Duration::from_secs(5);

/// Reads and drops what nobody read. Otherwise the connection (HTTP/1.1) or the stream (HTTP/2, as RFC
/// 9113, 8.1 allows) is reset behind its answer, and clients that look at it only when they have sent
/// everything, or drop it with the reset (curl before 8), lose it.
pub(crate) async fn read(request: Request, next: Next) -> Response {
    let two_way = interfaces::of(&request).transfer(&request).two_way;
    if two_way || request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Who asks first whether to send gets its answer instead.
    let asks = request.version() < Version::HTTP_2 && request.headers().contains_key(EXPECT);
    let left = Left::default();
    let lent = |body| Lent {
        body,
        sends: !asks,
        left: left.clone(),
    };
    let answer = next.run(request.map(|body| Body::new(lent(body)))).await;
    let body = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Who was too slow isn't waited for any longer.
    if let Some(body) = body
        && answer.status() != StatusCode::REQUEST_TIMEOUT
    {
        swallow(body).await;
    }
    answer
}

/// Reads and drops what is still being sent.
async fn swallow(body: Body) {
    let mut body = body.into_data_stream();
    let all = async { while let Some(Ok(_)) = body.next().await {} };
    // Whoever sends for longer is cut off.
    let _ = tokio::time::timeout(LINGER, all).await;
}

type Left = Arc<Mutex<Option<Body>>>;

/// A body that is given back when it is dropped before its end.
struct Lent {
    body: Body,
    /// Whether the client sends it.
    sends: bool,
    left: Left,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.sends && !self.body.is_end_stream() {
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
        self.sends = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

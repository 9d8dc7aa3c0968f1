//! An answer, which counts until it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};

use crate::room::{REQUEST_BYTES, Reserved, Room};

/// The answer to what `held` was taken for, of which it needs no more than its own bytes from now on;
/// `None` when there is no room for these, and they are more than `always`.
pub(super) fn counted(answer: Response, held: Arc<Reserved>, always: usize) -> Option<Response> {
    if let Some(bytes) = answer.body().size_hint().exact() {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if !held.reach(bytes) && bytes > always {
            return None;
        }
        held.shrink_to(bytes.saturating_add(REQUEST_BYTES));
    }
    Some(wrapped(answer, held))
}

/// An answer of which each frame is counted when it is there.
pub(super) fn streamed(answer: Response, room: &Room) -> Response {
    wrapped(answer, Arc::new(room.start()))
}

fn wrapped(answer: Response, held: Arc<Reserved>) -> Response {
    answer.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Counted { body, held })
    })
}

struct Counted {
    body: Body,
    held: Arc<Reserved>,
}

/// Bytes that count as long as somebody has them.
struct Owned {
    bytes: Bytes,
    _held: Reserved,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let counted = |frame: Frame<Bytes>| {
            frame.map_data(|bytes| {
                let held = self.held.part(bytes.len());
                Bytes::from_owner(Owned { bytes, _held: held })
            })
        };
        Poll::Ready(frame.map(|frame| frame.map(counted)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

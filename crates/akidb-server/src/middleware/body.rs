//! A request's body, which has a time by which it must be here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

const COMING: u8 = 0;
const HERE: u8 = 1;
const LATE: u8 = 2;

/// How a body's arrival goes.
#[derive(Debug, Clone)]
pub(crate) struct Arrival(Arc<AtomicU8>);

impl Arrival {
    /// The body with a limit, and what tells of it.
    pub(crate) fn watch(body: Body, limit: Duration) -> (Body, Self) {
        let state = if body.is_end_stream() { HERE } else { COMING };
        let arrival = Self(Arc::new(AtomicU8::new(state)));
        if state == HERE {
            return (body, arrival);
        }
        let timed = Timed {
            body,
            limit: Box::pin(tokio::time::sleep(limit)),
            arrival: arrival.clone(),
        };
        (Body::new(timed), arrival)
    }

    /// Whether the body is not here, or has not been read.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed) != HERE
    }

    /// Whether its time was over before it was here.
    pub(crate) fn was_late(&self) -> bool {
        self.0.load(Ordering::Relaxed) == LATE
    }
}

struct Timed {
    body: Body,
    limit: Pin<Box<Sleep>>,
    arrival: Arrival,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.limit.as_mut().poll(context).is_ready() {
            self.arrival.0.store(LATE, Ordering::Relaxed);
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.arrival.0.store(HERE, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

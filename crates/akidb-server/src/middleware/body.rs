//! A request's body, which has a time by which it must be here, and counts meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

use crate::room::Reserved;

const COMING: u8 = 0;
const HERE: u8 = 1;
const LATE: u8 = 2;
const NO_ROOM: u8 = 3;

/// How a body's arrival goes. Its bytes count until this is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Arrival(Arc<State>);

#[derive(Debug)]
struct State {
    state: AtomicU8,
    /// What has arrived.
    bytes: Reserved,
}

impl Arrival {
    /// The body with a limit to its time and `bytes` that it grows by, and what tells of it.
    pub(crate) fn watch(body: Body, limit: Duration, bytes: Reserved) -> (Body, Self) {
        let state = if body.is_end_stream() { HERE } else { COMING };
        let arrival = Self(Arc::new(State {
            state: AtomicU8::new(state),
            bytes,
        }));
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
        self.state() != HERE
    }

    /// Whether its time was over before it was here.
    pub(crate) fn was_late(&self) -> bool {
        self.state() == LATE
    }

    /// Whether other requests' bodies left no room for it.
    pub(crate) fn had_no_room(&self) -> bool {
        self.state() == NO_ROOM
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Relaxed)
    }

    fn set(&self, state: u8) {
        self.0.state.store(state, Ordering::Relaxed);
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
            self.arrival.set(LATE);
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
            && !self.arrival.0.bytes.grow(data.len())
        {
            self.arrival.set(NO_ROOM);
            let no_room = io::Error::from(io::ErrorKind::OutOfMemory);
            return Poll::Ready(Some(Err(axum::Error::new(no_room))));
        }
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.arrival.set(HERE);
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

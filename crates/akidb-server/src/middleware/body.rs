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

/// A body counts so many times: when it is decoded, what it holds is there beside it.
const COPIES: usize = 2;

const COMING: u8 = 0;
const HERE: u8 = 1;
const LATE: u8 = 2;
const NO_ROOM: u8 = 3;
const TOO_LARGE: u8 = 4;

/// How a body's arrival goes.
#[derive(Debug, Clone)]
pub(crate) struct Arrival(Arc<AtomicU8>);

/// What a body may take.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
    /// What its bytes count into.
    pub(crate) held: Arc<Reserved>,
}

impl Arrival {
    /// The body within its bounds, and what tells of it.
    pub(crate) fn watch(body: Body, bounds: Bounds) -> (Body, Self) {
        let state = if body.is_end_stream() { HERE } else { COMING };
        let arrival = Self(Arc::new(AtomicU8::new(state)));
        if state == HERE {
            return (body, arrival);
        }
        let bounded = Bounded {
            body,
            limit: Box::pin(tokio::time::sleep(bounds.time)),
            left: bounds.bytes,
            held: bounds.held,
            arrival: arrival.clone(),
        };
        (Body::new(bounded), arrival)
    }

    /// Whether the body is not here, or has not been read.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state() != HERE
    }

    /// Whether its time was over before it was here.
    pub(crate) fn was_late(&self) -> bool {
        self.state() == LATE
    }

    /// Whether other requests left no room for it.
    pub(crate) fn had_no_room(&self) -> bool {
        self.state() == NO_ROOM
    }

    /// Whether it is larger than it may be.
    pub(crate) fn was_too_large(&self) -> bool {
        self.state() == TOO_LARGE
    }

    fn state(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }
}

struct Bounded {
    body: Body,
    limit: Pin<Box<Sleep>>,
    /// Bytes that may still come.
    left: u64,
    held: Arc<Reserved>,
    arrival: Arrival,
}

impl Bounded {
    fn fails(
        &self,
        state: u8,
        kind: io::ErrorKind,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.arrival.set(state);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(kind)))))
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.limit.as_mut().poll(context).is_ready() {
            return self.fails(LATE, io::ErrorKind::TimedOut);
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return self.fails(TOO_LARGE, io::ErrorKind::FileTooLarge);
            };
            self.left = left;
            if !self.held.arrive(data.len().saturating_mul(COPIES)) {
                return self.fails(NO_ROOM, io::ErrorKind::OutOfMemory);
            }
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

//! Whether a connection does anything.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection does: its requests, and the bytes that its client takes.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opened: Instant,
    /// Requests whose answer isn't written yet.
    in_flight: AtomicUsize,
    /// Whether a request has ever come.
    asked: AtomicBool,
    /// Milliseconds from opening to the last sign of life.
    last: AtomicU64,
    /// Those that are being sent.
    answers: Mutex<Vec<Weak<Answer>>>,
}

/// An answer's bytes that are given to the protocol at once. Whoever takes so many in time makes
/// progress.
const PIECE: usize = 64 << 10;

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            last: AtomicU64::new(0),
            answers: Mutex::default(),
        }))
    }

    /// A request has come, in flight until the guard is dropped.
    pub(crate) fn request(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        self.0.asked.store(true, Ordering::Relaxed);
        self.touch();
        InFlight(self.clone())
    }

    fn touch(&self) {
        self.0.last.store(self.now(), Ordering::Relaxed);
    }

    /// Milliseconds from opening.
    fn now(&self) -> u64 {
        u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Weak<Answer>>> {
        self.0
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the client has taken nothing of each answer of which there is something to take.
    fn quiet(&self) -> Vec<Duration> {
        // An answer that ends here takes the lock itself.
        let answers: Vec<Arc<Answer>> = self.answers().iter().filter_map(Weak::upgrade).collect();
        let quiet = answers.iter().filter_map(|answer| answer.quiet());
        quiet.map(Duration::from_millis).collect()
    }

    /// Ends when the client has taken nothing of an answer for `limit`.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let longest = self.quiet().into_iter().max().unwrap_or_default();
            match limit.checked_sub(longest) {
                Some(left) if !left.is_zero() => {
                    tokio::time::sleep(left + Duration::from_millis(5)).await;
                }
                _ => return,
            }
        }
    }

    /// Whether the client takes nothing of any answer, for `limit`, and no other is in the making.
    pub(crate) fn is_stuck(&self, limit: Duration) -> bool {
        let stalled = self.quiet().into_iter().filter(|quiet| *quiet >= limit);
        stalled.count() >= self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Ends when no request was in flight and nothing was written for `keep_alive`, or no request
    /// has come within `first` of opening.
    pub(crate) async fn idle(&self, first: Duration, keep_alive: Duration) {
        loop {
            let limit = if self.0.asked.load(Ordering::Relaxed) {
                keep_alive
            } else {
                first
            };
            let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
            let quiet = self.0.opened.elapsed().saturating_sub(last);
            let busy = self.0.in_flight.load(Ordering::Relaxed) > 0;
            let left = match limit.checked_sub(quiet) {
                Some(left) if !left.is_zero() => left,
                _ if busy => limit,
                _ => return,
            };
            // The next look comes a little late rather than early.
            tokio::time::sleep(left + Duration::from_millis(5)).await;
        }
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight(Activity);

impl InFlight {
    /// The body, during which the request stays in flight until its last byte is sent.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let answer = Arc::new(Answer {
            moved: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            in_flight: self,
        });
        answer.activity().answers().push(Arc::downgrade(&answer));
        Body::new(Sending {
            body,
            rest: Bytes::new(),
            answer,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that is being sent.
#[derive(Debug)]
struct Answer {
    /// Milliseconds from the connection's opening to when its client last took something of it.
    moved: AtomicU64,
    /// Frames of it that are not sent yet.
    unsent: AtomicUsize,
    in_flight: InFlight,
}

impl Answer {
    fn activity(&self) -> &Activity {
        &self.in_flight.0
    }

    fn moves(&self) {
        self.moved.store(self.activity().now(), Ordering::Relaxed);
    }

    /// How long its client has taken nothing of it, in milliseconds; `None` where nothing is to be
    /// taken.
    fn quiet(&self) -> Option<u64> {
        let unsent = self.unsent.load(Ordering::Relaxed) > 0;
        let now = self.activity().now();
        unsent.then(|| now.saturating_sub(self.moved.load(Ordering::Relaxed)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut answers = self.activity().answers();
        answers.retain(|answer| answer.strong_count() > 0);
    }
}

/// A frame of an answer, until nobody has it any more.
struct Unsent {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Unsent {
    fn new(bytes: Bytes, answer: &Arc<Answer>) -> Self {
        answer.unsent.fetch_add(1, Ordering::Relaxed);
        Self {
            bytes,
            answer: Arc::clone(answer),
        }
    }
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.answer.moves();
        self.answer.unsent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer in pieces: one is asked for when the last is on its way.
struct Sending {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    answer: Arc<Answer>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    this.rest = Bytes::from_owner(Unsent::new(data, &this.answer));
                }
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        this.answer.moves();
        let piece = this.rest.split_to(PIECE.min(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// A stream whose writes count as activity.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    pub(crate) activity: Activity,
}

impl<S> Watched<S> {
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(1..))) {
            self.activity.touch();
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

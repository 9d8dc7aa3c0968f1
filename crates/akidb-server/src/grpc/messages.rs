//! The messages of a bulk call as they come: each has a time by which it must go on, and counts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::Frame;
use tokio::time::error::Elapsed;
use tokio::time::{Sleep, sleep, timeout};
use tonic::Status;

use super::bulk::STREAM_REQUESTS;
use crate::room::Reserved;

/// What stands before each message: whether it is compressed, and its length.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
pub(super) const PREFIX_BYTES: u64 = 5;

/// A call counts its largest message so many times, as long as it lasts: the buffer that it came into
/// is kept for the next, and so many are worked on.
const COPIES: usize = 1 + STREAM_REQUESTS;

/// The body of a bulk call, cut where a message makes no progress for `time`; it waits where others
/// leave no room.
pub(super) fn messages(body: Body, time: Duration, held: Arc<Reserved>) -> Body {
    Body::new(Messages {
        body,
        time,
        timer: None,
        next: None,
        message: Message::default(),
        held,
    })
}

/// Waits for room for so many bytes, what is held already included.
async fn arrive(held: Arc<Reserved>, bytes: usize) {
    let arrives = |held: &Reserved| {
        let more = bytes.saturating_sub(held.own());
        more == 0 || held.arrive(more)
    };
    held.wait(arrives).await;
}

struct Messages {
    body: Body,
    time: Duration,
    /// The end of the client's time while it is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// What has come and waits for room.
    next: Option<Waiting>,
    message: Message,
    held: Arc<Reserved>,
}

struct Waiting {
    frame: Frame<Bytes>,
    room: Pin<Box<dyn Future<Output = Result<(), Elapsed>> + Send>>,
}

impl Messages {
    /// Hands on what waits, where there is room for it by now.
    fn hand_on(
        &mut self,
        mut next: Waiting,
        context: &mut Context<'_>,
    ) -> Poll<Result<Frame<Bytes>, Status>> {
        match next.room.as_mut().poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(next.frame)),
            Poll::Ready(Err(_)) => {
                let message = "the server holds too much for its clients: try again later";
                Poll::Ready(Err(Status::resource_exhausted(message)))
            }
            Poll::Pending => {
                self.next = Some(next);
                Poll::Pending
            }
        }
    }

    /// Whether the client has let the time pass in the midst of a message.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let time = self.time;
        let timer = || Box::pin(sleep(time));
        self.message.has_begun()
            && self
                .timer
                .get_or_insert_with(timer)
                .as_mut()
                .poll(context)
                .is_ready()
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.next.is_none() {
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending if this.is_late(context) => {
                    let late = Status::deadline_exceeded("the message didn't come in time");
                    return Poll::Ready(Some(Err(axum::Error::new(late))));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            this.timer = None;
            let Some(data) = frame.data_ref() else {
                return Poll::Ready(Some(Ok(frame)));
            };
            let bytes = this.message.buffered.saturating_add(data.len());
            this.message.read(data);
            let room = arrive(Arc::clone(&this.held), bytes.saturating_mul(COPIES));
            let room = Box::pin(timeout(this.time, room));
            this.next = Some(Waiting { frame, room });
        }
        let Some(next) = this.next.take() else {
            return Poll::Pending;
        };
        this.hand_on(next, context)
            .map(|frame| Some(frame.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.body.is_end_stream()
    }
}

/// How much of a message has come.
#[derive(Debug, Default)]
struct Message {
    /// Its prefix, as far as it is here.
    prefix: Vec<u8>,
    /// What is still to come behind the prefix.
    left: usize,
    /// What has come, the prefix included.
    buffered: usize,
}

impl Message {
    fn has_begun(&self) -> bool {
        self.buffered > 0
    }

    /// Goes on with what has come, which may be the end of one and the beginning of others.
    fn read(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let prefix = PREFIX_BYTES as usize;
            let wanted = if self.prefix.len() < prefix {
                prefix - self.prefix.len()
            } else {
                self.left
            };
            let (now, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            self.buffered = self.buffered.saturating_add(now.len());
            if self.prefix.len() < prefix {
                self.prefix.extend_from_slice(now);
                let [_, length @ ..] = &*self.prefix else {
                    continue;
                };
                let Ok(length) = <[u8; 4]>::try_from(length) else {
                    continue;
                };
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            } else {
                self.left -= now.len();
            }
            if self.left == 0 && self.prefix.len() == prefix {
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_message_ends_is_known_however_it_is_cut() {
        let message = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&[0], &length[..], bytes].concat()
        };
        let stream = [message(b"abc"), message(b""), message(&[7; 300])].concat();
        let ends = [8, 13, 318];
        for cut in 1..20 {
            let (mut state, mut read) = (Message::default(), 0);
            for chunk in stream.chunks(cut) {
                state.read(chunk);
                read += chunk.len();
                let begun = ends.iter().rev().find(|end| **end <= read);
                assert_eq!(state.buffered, read - begun.unwrap_or(&0), "{cut} {read}");
                assert_eq!(state.has_begun(), !ends.contains(&read), "{cut} {read}");
            }
        }
    }
}

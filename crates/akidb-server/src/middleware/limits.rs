//! How much a request may send, how long it may take, and what is held for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::Body as _;

use super::answer;
use super::body::{Arrival, Bounds};
use crate::caller::Caller;
use crate::exporter::METRICS;
use crate::interfaces;
use crate::problem::{Cause, Problem};
use crate::room::{REQUEST_BYTES, RETRY_AFTER, Reserved, Room};
use crate::settings::Settings;

/// An answer of no more bytes needs no room: probes ask while there is none.
const SMALL_BYTES: usize = 4 << 10;

/// As many of the metrics: what fills the room is of interest then.
const METRICS_BYTES: usize = 256 << 10;

/// What a header takes beside its name and value.
const HEADER_BYTES: usize = 100;

/// What a request may send and take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    request: Duration,
    body: Duration,
    max_body_bytes: u64,
    room: Room,
}

impl Limits {
    pub(crate) fn new(settings: &Settings, room: Room) -> Self {
        Self {
            request: settings.request_timeout,
            body: settings.body_timeout,
            max_body_bytes: settings.max_body_bytes as u64,
            room,
        }
    }

    /// When the request is given up. A stream's requests each have their own time.
    fn deadline(&self, streams: bool, asked: Option<Duration>) -> Option<Instant> {
        let limit = if streams {
            asked?
        } else {
            asked.map_or(self.request, |asked| asked.min(self.request))
        };
        Instant::now().checked_add(limit)
    }

    /// What is held for a request from now on; `None` when there is no room for it. What has no body
    /// is always heard: probes ask while there is no room.
    fn hold(&self, request: &Request) -> Option<Arc<Reserved>> {
        let held = self.room.start();
        let head = head(request).saturating_add(REQUEST_BYTES);
        if request.body().is_end_stream() {
            held.take(head);
        } else if !held.arrive(head) {
            return None;
        }
        Some(Arc::new(held))
    }
}

pub(crate) async fn limit(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    let transfer = interfaces::of(&request).transfer(&request);
    let streams = transfer.messages.is_some();
    let deadline = limits.deadline(streams, transfer.timeout);
    let too_large = || {
        let most = limits.max_body_bytes;
        let message = format!("the body is larger than the {most} bytes that this server takes");
        Problem::new(Cause::BodyTooLarge, message).into_response()
    };
    if length(request.headers()).is_some_and(|length| !streams && length > limits.max_body_bytes) {
        return too_large();
    }
    let Some(held) = limits.hold(&request) else {
        return no_room();
    };
    let caller = request.extensions_mut().get_or_insert_default::<Caller>();
    caller.deadline = deadline;
    caller.held = Arc::clone(&held);

    let always = if request.uri().path() == METRICS {
        METRICS_BYTES
    } else {
        SMALL_BYTES
    };
    if let Some(watch) = transfer.messages {
        let messages = |body| watch(body, limits.body, held);
        let answer = next.run(request.map(messages)).await;
        return answer::streamed(answer, &limits.room);
    }
    let (parts, body) = request.into_parts();
    let bounds = Bounds {
        time: limits.body,
        bytes: limits.max_body_bytes.saturating_add(transfer.framing),
        held: Arc::clone(&held),
    };
    let (body, arrival) = Arrival::watch(body, bounds);
    let answer = next.run(Request::from_parts(parts, body));
    let answer = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), answer).await.ok(),
        None => Some(answer.await),
    };
    let slow = || {
        let problem = Problem::new(Cause::SlowBody, "the request's body didn't come in time");
        problem.into_response()
    };
    let answer = match answer {
        Some(_) if arrival.was_late() => slow(),
        Some(_) if arrival.had_no_room() => no_room(),
        Some(_) if arrival.was_too_large() => too_large(),
        Some(answer) => answer,
        None if arrival.is_waiting() => slow(),
        None => {
            let message = "the answer would come after the request's deadline";
            Problem::new(Cause::Deadline, message).into_response()
        }
    };
    answer::counted(answer, held, always).unwrap_or_else(no_room)
}

/// The answer where others left no room.
fn no_room() -> Response {
    let message = "the server holds too much for its clients: try again in 1 s";
    let mut problem = Problem::new(Cause::Overloaded, message);
    problem.retry_after = Some(RETRY_AFTER);
    problem.into_response()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Bytes of a request's head.
fn head(request: &Request) -> usize {
    let headers = request.headers().iter();
    let each = headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    let path = request.uri().path_and_query();
    each.fold(
        path.map_or(0, |path| path.as_str().len()),
        usize::saturating_add,
    )
}

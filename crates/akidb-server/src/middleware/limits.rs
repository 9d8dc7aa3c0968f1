//! How much a request may send, and how long it may take.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::body::Arrival;
use crate::caller::Caller;
use crate::grpc;
use crate::http::problem::{Cause, Problem};
use crate::room::Room;
use crate::settings::Settings;

/// How long a client that sends too much is listened to, so that it gets to read the answer.
const LINGER: Duration = Duration::from_secs(5);

/// What a request may send and take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    request: Duration,
    body: Duration,
    max_body_bytes: u64,
    /// Of the bodies of all requests that have no answer yet.
    bodies: Room,
}

impl Limits {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            request: settings.request_timeout,
            body: settings.body_timeout,
            max_body_bytes: settings.max_body_bytes as u64,
            bodies: Room::new(settings.max_queue_bytes),
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
}

pub(crate) async fn limit(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    let call = grpc::is_grpc(request.headers());
    let streams = call && request.uri().path() == grpc::STREAM;
    let asked = call.then(|| grpc::timeout(request.headers())).flatten();
    let deadline = limits.deadline(streams, asked);
    let caller = request.extensions_mut().get_or_insert_default::<Caller>();
    caller.deadline = deadline;
    let Some(deadline) = deadline.filter(|_| !streams) else {
        return next.run(request).await;
    };

    if length(request.headers()).is_some_and(|length| length > limits.max_body_bytes) {
        swallow(request.into_body()).await;
        let most = limits.max_body_bytes;
        let message = format!("the body is larger than the {most} bytes that this server takes");
        return Problem::new(Cause::BodyTooLarge, message).into_response();
    }
    let (parts, body) = request.into_parts();
    let (body, arrival) = Arrival::watch(body, limits.body, limits.bodies.start());
    let request = Request::from_parts(parts, body);
    let answer = tokio::time::timeout_at(deadline.into(), next.run(request)).await;
    let slow = || {
        let problem = Problem::new(Cause::SlowBody, "the request's body didn't come in time");
        problem.into_response()
    };
    match answer {
        Ok(_) if arrival.was_late() => slow(),
        Ok(_) if arrival.had_no_room() => {
            let message = "the server has too many requests to read: try again in 1 s";
            let mut problem = Problem::new(Cause::Overloaded, message);
            problem.retry_after = Some(Duration::from_secs(1));
            problem.into_response()
        }
        Ok(answer) => answer,
        Err(_) if arrival.is_waiting() => slow(),
        Err(_) => {
            let message = "the answer would come after the request's deadline";
            Problem::new(Cause::Deadline, message).into_response()
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads and drops what is still being sent: many clients look at the answer only after that.
pub(super) async fn swallow(body: Body) {
    let mut body = body.into_data_stream();
    let all = async { while let Some(Ok(_)) = body.next().await {} };
    // Whoever sends for longer is cut off.
    let _ = tokio::time::timeout(LINGER, all).await;
}

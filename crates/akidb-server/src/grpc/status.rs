//! Problems as gRPC statuses.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::problem::{Cause, Problem};

/// Whether these are the headers of a gRPC call or of its answer.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn code(cause: Cause) -> Code {
    match cause {
        Cause::Syntax
        | Cause::Type
        | Cause::Invalid
        | Cause::Header
        | Cause::Empty
        | Cause::TooLong
        | Cause::TooManyInputs
        | Cause::MediaType => Code::InvalidArgument,
        Cause::BodyTooLarge | Cause::Overloaded => Code::ResourceExhausted,
        Cause::Unauthorized => Code::Unauthenticated,
        Cause::Forbidden => Code::PermissionDenied,
        Cause::NotFound | Cause::Method | Cause::Unsupported => Code::Unimplemented,
        Cause::ModelNotFound => Code::NotFound,
        Cause::Tokenizer | Cause::Model => Code::Internal,
        Cause::Deadline | Cause::SlowBody => Code::DeadlineExceeded,
        Cause::Stopping => Code::Unavailable,
    }
}

/// The status of a problem, which is counted.
pub(crate) fn status(problem: &Problem) -> Status {
    problem.count();
    let mut details = ErrorDetails::new();
    if let Some(wait) = problem.retry_after {
        details.set_retry_info(Some(wait));
    }
    if let Some(field) = &problem.field {
        // OpenAI calls the texts input.
        let field = if field == "input" { "texts" } else { field };
        details.add_bad_request_violation(field, problem.message.clone());
    }
    Status::with_error_details(code(problem.cause), problem.message.clone(), details)
}

/// What was answered to a gRPC call from outside of its service, as gRPC's clients expect it.
pub(super) fn of_response(mut response: Response) -> Response {
    if is_grpc(response.headers()) {
        // The library says this, and only this, to a message that is too large, others say
        // RESOURCE_EXHAUSTED.
        let too_large = HeaderValue::from(Code::OutOfRange as u16);
        if response.headers().get(Status::GRPC_STATUS) == Some(&too_large) {
            let code = HeaderValue::from(Code::ResourceExhausted as u16);
            response.headers_mut().insert(Status::GRPC_STATUS, code);
        }
        return response;
    }
    let status = match response.extensions().get::<Problem>() {
        Some(problem) => status(problem),
        None => Status::new(
            match response.status() {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
                _ => Code::Unknown,
            },
            "",
        ),
    };
    status.into_http::<Body>()
}

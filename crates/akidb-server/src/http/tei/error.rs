//! Text Embeddings Inference's error.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Cause, Problem};

/// Text Embeddings Inference's error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeiError {
    /// What is wrong.
    error: String,
    /// What programs can tell apart.
    error_type: TeiErrorType,
}

#[derive(Debug, Serialize, ToSchema)]
enum TeiErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Tokenizer,
    Empty,
}

pub(super) fn words(problem: &Problem) -> Response {
    let error = TeiError {
        error: problem.message.clone().into_owned(),
        error_type: error_type(problem.cause),
    };
    (status(problem.cause), Json(error)).into_response()
}

fn status(cause: Cause) -> StatusCode {
    match cause {
        // As TEI since 1.9.0: before, it said 413 to whatever doesn't fit the model.
        Cause::TooManyInputs => StatusCode::PAYLOAD_TOO_LARGE,
        Cause::Invalid | Cause::TooLong | Cause::Type | Cause::Tokenizer => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Cause::Model | Cause::Unsupported => StatusCode::FAILED_DEPENDENCY,
        _ => cause.status(),
    }
}

fn error_type(cause: Cause) -> TeiErrorType {
    match cause {
        Cause::Empty => TeiErrorType::Empty,
        Cause::Tokenizer => TeiErrorType::Tokenizer,
        Cause::Overloaded | Cause::Deadline => TeiErrorType::Overloaded,
        Cause::Model | Cause::Unsupported => TeiErrorType::Backend,
        Cause::Stopping => TeiErrorType::Unhealthy,
        _ => TeiErrorType::Validation,
    }
}

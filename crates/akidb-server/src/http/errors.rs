//! Problems in the words of the interface that was spoken to.

use axum::Json;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::interface::Interface;
use super::problem::{Cause, Problem};

/// Gives a [`Problem`] that comes from within the body that the interface's clients expect.
pub(crate) async fn in_the_interfaces_words(request: Request, next: Next) -> Response {
    let interface = Interface::of(request.uri().path());
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().cloned() else {
        return response;
    };
    metrics::counter!("akidb_errors_total", "cause" => problem.cause.as_str()).increment(1);
    let mut worded = worded(&problem, interface);
    // Others' headers stay: Allow where the method was wrong.
    for (name, value) in response.headers() {
        worded
            .headers_mut()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
    if let Some(wait) = problem.retry_after {
        let seconds = wait.as_secs_f64().ceil().max(1.0);
        worded
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
    }
    worded
}

fn worded(problem: &Problem, interface: Interface) -> Response {
    let status = problem.cause.status(interface);
    let message = problem.message.clone().into_owned();
    match interface {
        Interface::OpenAi => {
            let error = OpenAiErrorBody {
                message,
                kind: openai_type(problem.cause),
                param: problem.field.clone(),
                code: openai_code(problem.cause),
            };
            (status, Json(OpenAiError { error })).into_response()
        }
        Interface::Tei => {
            let error_type = tei_type(problem.cause);
            let error = message;
            (status, Json(TeiError { error, error_type })).into_response()
        }
        Interface::Ollama => {
            let error = match problem.cause {
                // Ollama's words, which its clients look for.
                Cause::TooLong => format!("the input length exceeds the context length: {message}"),
                _ => message,
            };
            (status, Json(OllamaError { error })).into_response()
        }
        Interface::Cohere => (
            status,
            Json(CohereError {
                id: uuid::Uuid::new_v4().to_string(),
                message,
            }),
        )
            .into_response(),
    }
}

/// OpenAI's error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    error: OpenAiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct OpenAiErrorBody {
    /// What is wrong.
    message: String,
    /// `invalid_request_error`, `tokens` (too many of them at a time) or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field at fault.
    param: Option<String>,
    /// What programs can tell apart.
    code: Option<&'static str>,
}

fn openai_type(cause: Cause) -> &'static str {
    match cause {
        Cause::Overloaded => "tokens",
        _ if cause.status(Interface::OpenAi).is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

fn openai_code(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::ModelNotFound => Some("model_not_found"),
        Cause::TooLong => Some("context_length_exceeded"),
        Cause::Overloaded => Some("rate_limit_exceeded"),
        Cause::NotFound => Some("unknown_url"),
        Cause::Method => Some("method_not_supported"),
        Cause::Deadline => Some("timeout"),
        Cause::Unauthorized => Some("invalid_api_key"),
        _ => None,
    }
}

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

fn tei_type(cause: Cause) -> TeiErrorType {
    match cause {
        Cause::Empty => TeiErrorType::Empty,
        Cause::Tokenizer => TeiErrorType::Tokenizer,
        Cause::Overloaded | Cause::Deadline => TeiErrorType::Overloaded,
        Cause::Model | Cause::Unsupported => TeiErrorType::Backend,
        Cause::Stopping => TeiErrorType::Unhealthy,
        _ => TeiErrorType::Validation,
    }
}

/// Ollama's error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaError {
    /// What is wrong.
    error: String,
}

/// Cohere's error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CohereError {
    /// Tells errors apart.
    id: String,
    /// What is wrong.
    message: String,
}

//! What is wrong with a request or went wrong with it, before an interface puts it in its words.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use akidb_embedding::EmbedError;
use akidb_embedding::diagnostics::chain;

use crate::service::ServiceError;

/// Kinds of problems: as many as the interfaces tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No JSON, or not UTF-8.
    Syntax,
    /// JSON of other types than the fields have.
    Type,
    /// A field's value is not possible.
    Invalid,
    /// Nothing to embed.
    Empty,
    /// A text has more tokens than the model takes, and is not to be cut.
    TooLong,
    /// More inputs than one request may have.
    TooManyInputs,
    /// A header's value is not possible.
    Header,
    /// More bytes than a body may have.
    BodyTooLarge,
    /// The body is not said to be JSON.
    MediaType,
    /// There is no such route.
    NotFound,
    /// The route takes other methods.
    Method,
    /// There is no such model.
    ModelNotFound,
    /// The tokenizer fails.
    Tokenizer,
    /// The model fails, or can't be loaded.
    Model,
    /// The model's backend can't do that.
    Unsupported,
    /// There is too much to do.
    Overloaded,
    /// The answer would be too late.
    Deadline,
    /// The server is stopping.
    Stopping,
    /// The API key is missing or wrong.
    Unauthorized,
    /// Pages of that site, or by that name, may not ask.
    Forbidden,
    /// The body didn't come in time.
    SlowBody,
}

impl Cause {
    /// The label of `akidb_errors_total`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Type => "type",
            Self::Invalid => "invalid",
            Self::Header => "header",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::TooManyInputs => "too_many_inputs",
            Self::BodyTooLarge => "body_too_large",
            Self::MediaType => "media_type",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::ModelNotFound => "model_not_found",
            Self::Tokenizer => "tokenizer",
            Self::Model => "model",
            Self::Unsupported => "unsupported",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Stopping => "stopping",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::SlowBody => "slow_body",
        }
    }

    /// What HTTP's clients expect; an interface may have its own.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Syntax
            | Self::Type
            | Self::Invalid
            | Self::Header
            | Self::Empty
            | Self::TooLong
            | Self::TooManyInputs => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound | Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Tokenizer | Self::Model => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Why a request has no answer.
///
/// As a response it is only a status; [`Interface::finish`](crate::interface::Interface::finish) gives
/// it a body.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) cause: Cause,
    pub(crate) message: Cow<'static, str>,
    /// The field at fault, where one is, by OpenAI's name.
    pub(crate) field: Option<String>,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause,
            message: message.into(),
            field: None,
            retry_after: None,
        }
    }

    /// A field's value is not possible.
    pub(crate) fn invalid(field: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cause::Invalid, message).at(field)
    }

    /// Tells the metrics of it.
    pub(crate) fn count(&self) {
        metrics::counter!("akidb_errors_total", "cause" => self.cause.as_str()).increment(1);
    }

    /// The same problem, with the field at fault.
    pub(crate) fn at(mut self, field: &str) -> Self {
        self.field.get_or_insert_with(|| field.to_owned());
        self
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::Embed(error) = &error {
            return error.as_ref().into();
        }
        let cause = match &error {
            ServiceError::ModelNotFound { .. } => Cause::ModelNotFound,
            ServiceError::TooManyInputs { .. } | ServiceError::TooMuch { .. } => {
                Cause::TooManyInputs
            }
            ServiceError::PromptTooLong { .. } => Cause::Invalid,
            ServiceError::Overloaded { .. } | ServiceError::NoRoom { .. } => Cause::Overloaded,
            ServiceError::DeadlineExceeded => Cause::Deadline,
            ServiceError::Stopped => Cause::Stopping,
            _ => Cause::Model,
        };
        if cause == Cause::Model {
            log(&error);
        }
        let retry_after = match error {
            ServiceError::Overloaded { retry_after } | ServiceError::NoRoom { retry_after, .. } => {
                Some(retry_after)
            }
            _ => None,
        };
        let field = match error {
            ServiceError::ModelNotFound { .. } => Some("model"),
            ServiceError::TooManyInputs { .. } | ServiceError::TooMuch { .. } => Some("input"),
            ServiceError::PromptTooLong { .. } => Some("instruction"),
            _ => None,
        };
        Self {
            retry_after,
            field: field.map(str::to_owned),
            ..Self::new(cause, error.to_string())
        }
    }
}

impl From<&EmbedError> for Problem {
    fn from(error: &EmbedError) -> Self {
        let cause = match error {
            EmbedError::TooLong { .. } | EmbedError::QueryTooLong { .. } => Cause::TooLong,
            EmbedError::Dimension { .. }
            | EmbedError::UnknownPrompt { .. }
            | EmbedError::NoInstruction
            | EmbedError::NotAnEmbedder { .. }
            | EmbedError::NotAReranker { .. }
            | EmbedError::TokenLimit { .. }
            | EmbedError::InvalidTokens { .. } => Cause::Invalid,
            EmbedError::Tokenizer { .. } => Cause::Tokenizer,
            EmbedError::Unsupported(_) => Cause::Unsupported,
            _ => Cause::Model,
        };
        if matches!(cause, Cause::Tokenizer | Cause::Model) {
            log(error);
        }
        let message = match error {
            EmbedError::UnknownPrompt { known, .. } => {
                format!("{error}: it has {}", known.join(", "))
            }
            _ => error.to_string(),
        };
        let field = match error {
            EmbedError::TooLong { .. } | EmbedError::InvalidTokens { .. } => Some("input"),
            EmbedError::Dimension { .. } => Some("dimensions"),
            EmbedError::NoInstruction => Some("instruction"),
            EmbedError::NotAnEmbedder { .. } | EmbedError::NotAReranker { .. } => Some("model"),
            EmbedError::QueryTooLong { .. } => Some("query"),
            _ => None,
        };
        Self {
            field: field.map(str::to_owned),
            ..Self::new(cause, message)
        }
    }
}

/// What the operator has to know and a client hasn't: causes name files.
fn log(error: &dyn std::error::Error) {
    tracing::error!("{}", chain(error));
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.cause.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

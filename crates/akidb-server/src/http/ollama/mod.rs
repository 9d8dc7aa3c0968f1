//! Ollama: `POST /api/embed`, `POST /api/embeddings`, `POST /api/show`, `GET /api/tags`, `GET /api/ps`
//! and `GET /api/version`.

mod embed;
mod models;

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::EmbeddingService;

pub(crate) struct Ollama;

impl Interface for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        path.starts_with("/api/")
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("Ollama", "Ollama's embeddings"))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(embed::embed))
            .routes(routes!(embed::embeddings))
            .routes(routes!(models::show))
            .routes(routes!(models::tags))
            .routes(routes!(models::ps))
            .routes(routes!(models::version))
    }

    fn words(&self, problem: &Problem) -> Response {
        let message = problem.message.clone().into_owned();
        let error = match problem.cause {
            // Ollama's words, which its clients look for.
            Cause::TooLong => format!("the input length exceeds the context length: {message}"),
            _ => message,
        };
        (problem.cause.status(), Json(OllamaError { error })).into_response()
    }

    fn error_schema(&self) -> &'static str {
        "OllamaError"
    }
}

/// Ollama's error.
#[derive(Debug, Serialize, ToSchema)]
struct OllamaError {
    /// What is wrong.
    error: String,
}

/// Ollama's names end with a tag, this one where none is given.
const TAG: &str = ":latest";

/// The name that the server has for what a client asks for, in whatever case.
fn name(service: &EmbeddingService, asked: String) -> Result<String, Problem> {
    if asked.is_empty() {
        return Err(Problem::invalid("model", "model is required"));
    }
    let bare = asked.len().checked_sub(TAG.len());
    let bare = bare.and_then(|at| asked.split_at_checked(at));
    let bare = bare.filter(|(_, tag)| tag.eq_ignore_ascii_case(TAG));
    let names = [Some(asked.as_str()), bare.map(|(bare, _)| bare)];
    let names = names.into_iter().flatten();
    let same = |name: &str| {
        let mut known = service.model_names();
        let as_it_is = service.model_names().find(|known| *known == name);
        as_it_is.or_else(|| known.find(|known| known.eq_ignore_ascii_case(name)))
    };
    let found = names.filter_map(same).next().map(str::to_owned);
    Ok(found.unwrap_or(asked))
}

//! Text Embeddings Inference: `/embed`, `/embed_all`, `/similarity`, `/rerank`, `/tokenize`, `/decode` and `/info`.

mod embed;
mod embed_all;
mod error;
mod headers;
mod info;
mod rerank;
mod tokens;

use std::sync::Arc;

use axum::http::HeaderName;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use akidb_embedding::{OnLong, Prompt};

use crate::interface::{Head, Interface, Parts};
use crate::problem::Problem;
use crate::service::EmbeddingService;

pub(crate) struct Tei;

impl Interface for Tei {
    fn name(&self) -> &'static str {
        "tei"
    }

    /// Its routes have no prefix of their own.
    fn owns(&self, _: Head<'_>) -> bool {
        true
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some((
            "Text Embeddings Inference",
            "Hugging Face's embedding server",
        ))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(embed::embed))
            .routes(routes!(embed::embed_at_the_root))
            .routes(routes!(embed::embed_at_sagemaker))
            .routes(routes!(embed_all::embed_all))
            .routes(routes!(embed::similarity))
            .routes(routes!(rerank::rerank))
            .routes(routes!(tokens::tokenize))
            .routes(routes!(tokens::decode))
            .routes(routes!(info::info))
    }

    fn words(&self, problem: &Problem) -> Response {
        error::words(problem)
    }

    fn error_schema(&self) -> &'static str {
        "TeiError"
    }

    fn exposes(&self) -> &'static [HeaderName] {
        &headers::NAMES
    }
}

/// Which end of a text that is too long is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
enum TruncationDirection {
    #[serde(alias = "left")]
    Left,
    #[default]
    #[serde(alias = "right")]
    Right,
}

/// What is done with texts that are too long: TEI cuts them unless told otherwise, and their ends whatever the
/// model's tokenizer says.
fn on_long(truncate: Option<bool>, direction: Option<TruncationDirection>) -> OnLong {
    match (truncate, direction.unwrap_or_default()) {
        (Some(false), _) => OnLong::Error,
        (_, TruncationDirection::Right) => OnLong::TruncateEnd,
        (_, TruncationDirection::Left) => OnLong::TruncateStart,
    }
}

fn prompt(name: Option<String>) -> Prompt {
    name.map_or(Prompt::Default, Prompt::Named)
}

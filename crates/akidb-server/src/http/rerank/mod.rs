//! Rerankers as most clients ask for them (Jina, vLLM, llama.cpp, the first version of Cohere's):
//! `POST /v1/rerank`; vLLM's `POST /score`. `POST /rerank` is Text Embeddings Inference's too, and told
//! from it by its fields.

mod request;
mod score;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{self, Origin};
use super::body::Body;
use crate::ask::{Ask, ClassHeader};
use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::{EmbeddingService, RerankAnswer};
pub(crate) use request::{Documents, RerankRequest};

pub(crate) struct Rerank;

impl Interface for Rerank {
    fn name(&self) -> &'static str {
        "rerank"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        ["/v1/rerank", "/score", "/v1/score"].contains(&path)
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some((
            "Rerank",
            "Rerankers of Jina, vLLM, llama.cpp and Cohere's first version",
        ))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(rerank))
            .routes(routes!(score::score))
            .routes(routes!(score::score_v1))
    }

    fn words(&self, problem: &Problem) -> Response {
        let message = problem.message.clone().into_owned();
        let status = problem.cause.status();
        let error = RerankError {
            error: ErrorBody {
                message: message.clone(),
                kind: kind(problem.cause),
                param: problem.field.clone(),
                code: status.as_u16(),
            },
            detail: message.clone(),
            message,
        };
        (status, Json(error)).into_response()
    }

    fn error_schema(&self) -> &'static str {
        "RerankError"
    }
}

fn kind(cause: Cause) -> &'static str {
    match cause {
        _ if cause.status().is_server_error() => "server_error",
        Cause::NotFound | Cause::ModelNotFound => "not_found_error",
        Cause::Unauthorized => "authentication_error",
        Cause::Overloaded => "rate_limit_error",
        _ => "invalid_request_error",
    }
}

/// The error of these routes, for clients of each of them.
#[derive(Debug, Serialize, ToSchema)]
struct RerankError {
    /// As vLLM and llama.cpp have it.
    error: ErrorBody,
    /// What is wrong, as Cohere has it.
    message: String,
    /// The same, as Jina has it.
    detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankErrorBody)]
struct ErrorBody {
    /// What is wrong.
    message: String,
    /// Its kind.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field at fault.
    param: Option<String>,
    /// The status.
    code: u16,
}

/// Documents and their scores, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RerankResponse {
    /// Tells answers apart.
    id: String,
    /// `list`.
    object: &'static str,
    /// The model's name.
    model: String,
    usage: Usage,
    results: Vec<Ranked>,
    meta: Meta,
    provenance: Origin,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankUsage)]
struct Usage {
    /// Tokens of all pairs; with cosine, of the query and of all documents.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankResult)]
struct Ranked {
    /// Which document.
    index: usize,
    /// How well it answers the query: 0 to 1, unless the model's files have no sigmoid; a cosine where
    /// documents are scored by that.
    relevance_score: f32,
    /// The document, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
    /// Tokens that the model saw, special ones included.
    tokens: usize,
    /// The document was longer, and part of it was not seen.
    truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankDocument)]
struct Document {
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankMeta)]
struct Meta {
    api_version: ApiVersion,
    billed_units: Units,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankApiVersion)]
struct ApiVersion {
    /// `1`, or `2` of the route of that version.
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RerankUnits)]
struct Units {
    /// One a request.
    search_units: u32,
}

impl RerankResponse {
    fn new(mut answer: RerankAnswer, model: String, version: &'static str) -> Self {
        let documents = &mut answer.documents;
        let results = answer.scores.iter().map(|score| Ranked {
            index: score.index,
            relevance_score: score.score,
            document: documents.get_mut(score.index).map(|text| Document {
                text: std::mem::take(text),
            }),
            tokens: score.tokens,
            truncated: score.truncated,
        });
        Self {
            id: format!("rerank-{}", uuid::Uuid::new_v4()),
            object: "list",
            model,
            usage: Usage {
                prompt_tokens: answer.total_tokens,
                total_tokens: answer.total_tokens,
            },
            results: results.collect(),
            meta: Meta {
                api_version: ApiVersion { version },
                billed_units: Units { search_units: 1 },
            },
            provenance: Origin(answer.provenance),
        }
    }
}

/// Answers a request, whichever route it came by.
pub(crate) async fn run(
    service: &EmbeddingService,
    mut ask: Ask,
    request: RerankRequest,
    version: &'static str,
) -> Result<Response, Problem> {
    ask.class = ask.class.or(request.class()?);
    let ranking = request.ranking(service).await?;
    let default = || service.model_names().next().unwrap_or_default().to_owned();
    let model = ranking.model.clone().unwrap_or_else(default);
    let answer = ask.rerank(service, ranking).await?;
    let numbers = answer.scores.len();
    answer::json(RerankResponse::new(answer, model, version), numbers).await
}

/// Ranks documents for a query.
#[utoipa::path(
    post,
    path = "/v1/rerank",
    tag = "Rerank",
    request_body = RerankRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "The documents' scores, the best first", body = RerankResponse),
        (status = 400, description = "No JSON, a field's value is not possible, or the model can't do that", body = RerankError),
        (status = 404, description = "There is no such model", body = RerankError),
        (status = 413, description = "The body is too large", body = RerankError),
        (status = 415, description = "The body is not said to be JSON", body = RerankError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = RerankError),
        (status = 500, description = "The model fails", body = RerankError),
        (status = 503, description = "The server is stopping", body = RerankError),
        (status = 504, description = "The answer would be too late", body = RerankError),
    )
)]
async fn rerank(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<RerankRequest>,
) -> Result<Response, Problem> {
    run(&service, ask, request, "1").await
}

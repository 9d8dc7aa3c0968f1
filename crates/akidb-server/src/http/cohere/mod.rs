//! Cohere: `POST /v2/embed` and `POST /v2/rerank`, and `POST /v1/embed` of older clients.

mod request;
mod types;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use akidb_embedding::{EmbedOptions, Input, OnLong, Prompt};

use super::answer::{self, Origin, Seen};
use super::body::Body;
use super::rerank::{RerankRequest, RerankResponse};
use super::truncate::Truncate;
use crate::ask::{Ask, ClassHeader};
use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::{EmbedAnswer, EmbeddingService};
use request::EmbedRequest;
use types::{EmbeddingType, Embeddings};

/// The only one of the first version's routes.
const OLDER: &str = "/v1/embed";

pub(crate) struct Cohere;

impl Interface for Cohere {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        path.starts_with("/v2/") || path == OLDER
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("Cohere", "Cohere's embeddings"))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(embed))
            .routes(routes!(embed_v1))
            .routes(routes!(rerank))
    }

    fn words(&self, problem: &Problem) -> Response {
        let error = CohereError {
            id: uuid::Uuid::new_v4().to_string(),
            message: problem.message.clone().into_owned(),
        };
        (problem.cause.status(), Json(error)).into_response()
    }

    fn error_schema(&self) -> &'static str {
        "CohereError"
    }
}

/// Cohere's error.
#[derive(Debug, Serialize, ToSchema)]
struct CohereError {
    /// Tells errors apart.
    id: String,
    /// What is wrong.
    message: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereEmbedResponse)]
struct EmbedResponse {
    /// `embeddings_by_type`, or `embeddings_floats` where they are a list.
    response_type: &'static str,
    /// Tells answers apart.
    id: String,
    embeddings: Vectors,
    /// The texts, as they came.
    texts: Vec<String>,
    meta: Meta,
    /// For each text, what the model saw of it.
    inputs: Vec<Seen>,
    provenance: Origin,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereVectors)]
#[serde(untagged)]
enum Vectors {
    ByType(Embeddings),
    List(Vec<Vec<f32>>),
}

impl EmbedResponse {
    fn new(
        answer: &EmbedAnswer,
        texts: Vec<String>,
        types: &[EmbeddingType],
        plain: bool,
        version: Version,
    ) -> Self {
        let (response_type, embeddings) = if plain {
            let floats = answer.embeddings.iter().map(answer::floats);
            let list = floats.map(<[f32]>::to_vec).collect();
            ("embeddings_floats", Vectors::List(list))
        } else {
            (
                "embeddings_by_type",
                Vectors::ByType(Embeddings::new(answer, types)),
            )
        };
        let tokens = || Units {
            input_tokens: answer.total_tokens,
        };
        let version = match version {
            Version::First => "1",
            Version::Second => "2",
        };
        Self {
            response_type,
            id: uuid::Uuid::new_v4().to_string(),
            embeddings,
            texts,
            meta: Meta {
                api_version: ApiVersion { version },
                billed_units: tokens(),
                tokens: tokens(),
            },
            inputs: answer::seen(answer),
            provenance: Origin(Arc::clone(&answer.provenance)),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereMeta)]
struct Meta {
    api_version: ApiVersion,
    billed_units: Units,
    tokens: Units,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereApiVersion)]
struct ApiVersion {
    /// `2`, or `1` of the older route.
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereUnits)]
struct Units {
    /// Tokens of all texts.
    input_tokens: usize,
}

/// Embeds texts.
#[utoipa::path(
    post,
    path = "/v2/embed",
    tag = "Cohere",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector a text and type, in order", body = EmbedResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = CohereError),
        (status = 404, description = "There is no such model", body = CohereError),
        (status = 413, description = "The body is too large", body = CohereError),
        (status = 415, description = "The body is not said to be JSON", body = CohereError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = CohereError),
        (status = 500, description = "The model fails", body = CohereError),
        (status = 503, description = "The server is stopping", body = CohereError),
        (status = 504, description = "The answer would be too late", body = CohereError),
    )
)]
async fn embed(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    if request.input_type.is_none() {
        let problem = Problem::new(Cause::Type, "missing field `input_type`");
        return Err(problem.at("input_type"));
    }
    run(&service, ask, request, Version::Second).await
}

/// The same in the words of older clients, whose vectors are a list where no type is asked for.
#[utoipa::path(
    post,
    path = "/v1/embed",
    tag = "Cohere",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector a text and type, in order", body = EmbedResponse),
        (status = "4XX", description = "As of `/v2/embed`", body = CohereError),
        (status = "5XX", description = "As of `/v2/embed`", body = CohereError),
    )
)]
async fn embed_v1(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    run(&service, ask, request, Version::First).await
}

/// Ranks documents for a query. `/v1/rerank` takes and gives the same.
#[utoipa::path(
    post,
    path = "/v2/rerank",
    tag = "Cohere",
    request_body = RerankRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "The documents' scores, the best first", body = RerankResponse),
        (status = "4XX", description = "As of `/v2/embed`", body = CohereError),
        (status = "5XX", description = "As of `/v2/embed`", body = CohereError),
    )
)]
async fn rerank(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<RerankRequest>,
) -> Result<Response, Problem> {
    super::rerank::run(&service, ask, request, "2").await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

async fn run(
    service: &EmbeddingService,
    mut ask: Ask,
    mut request: EmbedRequest,
    version: Version,
) -> Result<Response, Problem> {
    let inputs = request.texts()?;
    ask.class = ask.class.or(request.class()?);
    let mut types = request.embedding_types.unwrap_or_default();
    types.sort_unstable();
    types.dedup();
    let plain = types.is_empty() && version == Version::First;
    if types.is_empty() {
        types.push(EmbeddingType::Float);
    }
    let max_tokens = match request.max_tokens {
        Some(most) => {
            let facts = service.model_facts(request.model.as_deref()).await?;
            Some(most.min(facts.max_tokens))
        }
        None => None,
    };
    let prompt = request.input_type.map(|input_type| input_type.prompt());
    let options = EmbedOptions {
        prompt: prompt.unwrap_or(Prompt::Default),
        dimension: request.output_dimension,
        max_tokens,
        on_long: request.truncate.map_or(OnLong::Truncate, Truncate::on_long),
        ..EmbedOptions::default()
    };
    let text = |input: &Input| match input {
        Input::Text(text) => text.to_string(),
        Input::Tokens(_) => String::new(),
    };
    let texts = inputs.iter().map(text).collect();
    let answer = ask.embed(service, request.model, inputs, options).await?;
    let response = EmbedResponse::new(&answer, texts, &types, plain, version);
    let numbers = answer::numbers(&answer).saturating_mul(types.len());
    answer::json(response, numbers).await
}

//! vLLM's scores of pairs, in the order in which they come.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::RerankOptions;

use super::{RerankError, Usage};
use crate::ask::{Ask, ClassHeader, Ranking};
use crate::http::answer::{self, Origin};
use crate::http::body::Body;
use crate::http::inputs::Inputs;
use crate::http::schemas::Texts;
use crate::problem::{Cause, Problem};
use crate::service::EmbeddingService;

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ScoreRequest {
    /// Which model; without it, the server's first.
    model: Option<String>,
    /// A text, or as many as `text_2` has.
    #[serde(alias = "queries")]
    #[schema(value_type = Texts)]
    text_1: Inputs,
    /// What is scored for it.
    #[serde(alias = "documents", alias = "items")]
    #[schema(value_type = Texts)]
    text_2: Inputs,
    /// The task in your own words, for models that take one (not vLLM's).
    instruction: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScoreResponse {
    /// Tells answers apart.
    id: String,
    /// `list`.
    object: &'static str,
    /// The model's name.
    model: String,
    data: Vec<ScoreObject>,
    usage: Usage,
    provenance: Option<Origin>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ScoreObject {
    /// Which pair.
    index: usize,
    /// `score`.
    object: &'static str,
    score: f32,
}

/// Scores pairs of texts: one with one, one with each of several, or each with its own.
#[utoipa::path(
    post,
    path = "/score",
    tag = "Rerank",
    request_body = ScoreRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "A score a pair, in order", body = ScoreResponse),
        (status = "4XX", description = "As of `/v1/rerank`", body = RerankError),
        (status = "5XX", description = "As of `/v1/rerank`", body = RerankError),
    )
)]
pub(super) async fn score(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<ScoreRequest>,
) -> Result<Response, Problem> {
    run(&service, ask, request).await
}

/// The same as `/score`.
#[utoipa::path(
    post,
    path = "/v1/score",
    tag = "Rerank",
    request_body = ScoreRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "A score a pair, in order", body = ScoreResponse),
        (status = "4XX", description = "As of `/v1/rerank`", body = RerankError),
        (status = "5XX", description = "As of `/v1/rerank`", body = RerankError),
    )
)]
pub(super) async fn score_v1(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<ScoreRequest>,
) -> Result<Response, Problem> {
    run(&service, ask, request).await
}

async fn run(
    service: &EmbeddingService,
    ask: Ask,
    request: ScoreRequest,
) -> Result<Response, Problem> {
    let first = request.text_1.texts("text_1")?;
    let second = request.text_2.texts("text_2")?;
    for (field, texts) in [("text_1", &first), ("text_2", &second)] {
        if texts.is_empty() {
            let message = format!("`{field}` cannot be empty");
            return Err(Problem::new(Cause::Empty, message).at(field));
        }
    }
    let (firsts, seconds) = (first.len(), second.len());
    if firsts != 1 && firsts != seconds {
        let message = format!("`text_1` has {firsts} texts: one, or the {seconds} of `text_2`");
        return Err(Problem::invalid("text_1", message));
    }
    service.check_inputs(seconds)?;
    let groups: Vec<(String, Vec<String>)> = match first.len() {
        1 => first
            .into_iter()
            .map(|query| (query, second.clone()))
            .collect(),
        _ => first
            .into_iter()
            .zip(second.into_iter().map(|text| vec![text]))
            .collect(),
    };
    let default = || service.model_names().next().unwrap_or_default().to_owned();
    let mut response = ScoreResponse {
        id: format!("score-{}", uuid::Uuid::new_v4()),
        object: "list",
        model: request.model.clone().unwrap_or_else(default),
        data: Vec::with_capacity(seconds),
        usage: Usage {
            prompt_tokens: 0,
            total_tokens: 0,
        },
        provenance: None,
    };
    for (query, documents) in groups {
        let ranking = Ranking {
            model: request.model.clone(),
            query,
            documents,
            options: RerankOptions {
                instruction: request.instruction.clone(),
                ..RerankOptions::default()
            },
            keep_documents: false,
        };
        let mut answer = ask.clone().rerank(service, ranking).await?;
        answer.scores.sort_by_key(|score| score.index);
        let before = response.data.len();
        response
            .data
            .extend(answer.scores.iter().map(|score| ScoreObject {
                index: before + score.index,
                object: "score",
                score: score.score,
            }));
        response.usage.prompt_tokens += answer.total_tokens;
        response.usage.total_tokens += answer.total_tokens;
        response.provenance = Some(Origin(answer.provenance));
    }
    answer::json(response, seconds).await
}

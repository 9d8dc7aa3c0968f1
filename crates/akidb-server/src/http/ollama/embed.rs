//! `POST /api/embed` and `POST /api/embeddings`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::{EmbedOptions, Input, OnLong};

use super::{OllamaError, name};
use crate::ask::{Ask, ClassHeader, known};
use crate::http::answer::{self, Origin, Seen};
use crate::http::body::AnyKind;
use crate::http::inputs::Inputs;
use crate::http::schemas::AnyTexts;
use crate::http::unread::Unread;
use crate::problem::Problem;
use crate::service::{EmbedAnswer, EmbeddingService};

/// How much of the vectors a client wants: what isn't less than all is all.
async fn dimension(
    service: &EmbeddingService,
    model: &str,
    asked: Option<i64>,
) -> Result<Option<usize>, Problem> {
    let Some(asked) = asked
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0)
    else {
        return Ok(None);
    };
    let width = service.model_facts(Some(model)).await?.dimension;
    Ok(Some(asked).filter(|asked| *asked < width))
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaEmbedRequest)]
pub(crate) struct EmbedRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: String,
    #[serde(default)]
    #[schema(value_type = Option<AnyTexts>)]
    input: Option<Inputs>,
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<bool>,
    /// Keep only the first so many values (Matryoshka); 0, less, or more than there are: all.
    dimensions: Option<i64>,
    /// Not looked at: models stay as long as there is memory.
    #[serde(rename = "keep_alive")]
    #[schema(value_type = Option<serde_json::Value>)]
    _keep_alive: Option<Unread>,
    /// Not looked at.
    #[serde(rename = "options")]
    #[schema(value_type = Option<serde_json::Value>)]
    _options: Option<Unread>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaEmbedResponse)]
pub(crate) struct EmbedResponse {
    /// The model's name, as it was asked for.
    model: String,
    /// One vector a text, in order.
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds from request to answer.
    total_duration: u64,
    /// Nanoseconds that loading the model and turning texts into tokens took.
    load_duration: u64,
    /// Tokens of all texts.
    prompt_eval_count: usize,
    /// For each text, what the model saw of it.
    inputs: Vec<Seen>,
    /// Absent where there was nothing to embed.
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Origin>,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The vectors, taken out of an answer.
fn vectors(answer: &EmbedAnswer) -> Vec<Vec<f32>> {
    let embeddings = answer.embeddings.iter();
    embeddings.map(|e| answer::floats(e).to_vec()).collect()
}

/// Embeds texts.
#[utoipa::path(
    post,
    path = "/api/embed",
    tag = "Ollama",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector a text, in order", body = EmbedResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = OllamaError),
        (status = 404, description = "There is no such model", body = OllamaError),
        (status = 413, description = "The body is too large", body = OllamaError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = OllamaError),
        (status = 500, description = "The model fails", body = OllamaError),
        (status = 503, description = "The server is stopping", body = OllamaError),
        (status = 504, description = "The answer would be too late", body = OllamaError),
    )
)]
pub(super) async fn embed(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    AnyKind(request): AnyKind<EmbedRequest>,
) -> Result<Response, Problem> {
    let start = Instant::now();
    let asked = request.model.clone();
    let model = name(&service, request.model)?;
    let bare = request.input.as_ref().is_some_and(|input| input.bare);
    let texts = request.input.map_or(Ok(Vec::new()), |i| i.texts("input"))?;
    // No text is nothing to Ollama, and so is an empty one that stands in no list.
    if texts.is_empty() || (bare && texts.iter().all(String::is_empty)) {
        known(&service, &model)?;
        let nothing = EmbedResponse {
            model: asked,
            embeddings: Vec::new(),
            total_duration: nanoseconds(start.elapsed()),
            load_duration: 0,
            prompt_eval_count: 0,
            inputs: Vec::new(),
            provenance: None,
        };
        return answer::json(nothing, 0).await;
    }
    let options = EmbedOptions {
        dimension: dimension(&service, &model, request.dimensions).await?,
        on_long: match request.truncate {
            Some(false) => OnLong::Error,
            _ => OnLong::Truncate,
        },
        ..EmbedOptions::default()
    };
    let inputs = texts.into_iter().map(Input::from).collect();
    let answer = ask
        .of_any_number()
        .embed(&service, Some(model), inputs, options)
        .await?;
    let response = EmbedResponse {
        model: asked,
        embeddings: vectors(&answer),
        total_duration: nanoseconds(start.elapsed()),
        load_duration: nanoseconds(answer.timing.tokenize),
        prompt_eval_count: answer.total_tokens,
        inputs: answer::seen(&answer),
        provenance: Some(Origin(Arc::clone(&answer.provenance))),
    };
    answer::json(response, answer::numbers(&answer)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaEmbeddingsRequest)]
pub(crate) struct EmbeddingsRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: String,
    /// The text.
    #[serde(default)]
    prompt: Option<String>,
    /// Not looked at: models stay as long as there is memory.
    #[serde(rename = "keep_alive")]
    #[schema(value_type = Option<serde_json::Value>)]
    _keep_alive: Option<Unread>,
    /// Not looked at.
    #[serde(rename = "options")]
    #[schema(value_type = Option<serde_json::Value>)]
    _options: Option<Unread>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaEmbeddingsResponse)]
pub(crate) struct EmbeddingsResponse {
    /// The vector, not scaled to length 1; empty where there was no text.
    embedding: Vec<f32>,
    /// What the model saw of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Seen>,
    /// Absent where there was nothing to embed.
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Origin>,
}

/// Embeds one text; `/api/embed` took its place.
#[utoipa::path(
    post,
    path = "/api/embeddings",
    tag = "Ollama",
    request_body = EmbeddingsRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "The vector", body = EmbeddingsResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = OllamaError),
        (status = 404, description = "There is no such model", body = OllamaError),
        (status = 413, description = "The body is too large", body = OllamaError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = OllamaError),
        (status = 500, description = "The model fails", body = OllamaError),
        (status = 503, description = "The server is stopping", body = OllamaError),
        (status = 504, description = "The answer would be too late", body = OllamaError),
    )
)]
pub(super) async fn embeddings(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    AnyKind(request): AnyKind<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    let model = name(&service, request.model)?;
    let Some(prompt) = request.prompt.filter(|prompt| !prompt.is_empty()) else {
        known(&service, &model)?;
        let nothing = EmbeddingsResponse {
            embedding: Vec::new(),
            input: None,
            provenance: None,
        };
        return answer::json(nothing, 0).await;
    };
    let options = EmbedOptions {
        normalize: false,
        ..EmbedOptions::default()
    };
    let inputs = vec![Input::from(prompt)];
    let answer = ask.embed(&service, Some(model), inputs, options).await?;
    let response = EmbeddingsResponse {
        embedding: vectors(&answer).pop().unwrap_or_default(),
        input: answer::seen(&answer).pop(),
        provenance: Some(Origin(Arc::clone(&answer.provenance))),
    };
    answer::json(response, answer::numbers(&answer)).await
}

//! OpenAI's `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use akidb_embedding::{EmbedOptions, Input};

use crate::caller::Caller;
use crate::service::{Class, EmbedRequest, EmbeddingService, ServiceError};

pub(crate) fn routes() -> Router<Arc<EmbeddingService>> {
    Router::new().route("/v1/embeddings", post(embeddings))
}

#[derive(Debug, Deserialize)]
struct EmbeddingsRequest {
    input: OneOrMany,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Serialize)]
struct Data {
    object: &'static str,
    index: usize,
    embedding: Vec<f32>,
}

async fn embeddings(
    State(service): State<Arc<EmbeddingService>>,
    caller: Caller,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Failure> {
    let inputs: Vec<Input<'static>> = match request.input {
        OneOrMany::One(text) => vec![text.into()],
        OneOrMany::Many(texts) => texts.into_iter().map(Input::from).collect(),
    };
    let answer = service
        .embed(EmbedRequest {
            model: request.model,
            inputs,
            options: EmbedOptions {
                dimension: request.dimensions,
                ..EmbedOptions::default()
            },
            class: Class::Interactive,
            client: caller.client,
            deadline: caller.deadline,
        })
        .await?;
    let data: Vec<Data> = answer
        .embeddings
        .into_iter()
        .enumerate()
        .map(|(index, embedding)| Data {
            object: "embedding",
            index,
            embedding: embedding.values.into_f32().unwrap_or_default(),
        })
        .collect();
    let tokens = answer.total_tokens;
    let body = json!({
        "object": "list",
        "data": data,
        "model": answer.provenance.model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok(Json(body).into_response())
}

struct Failure(ServiceError);

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body =
            json!({ "error": { "message": self.0.to_string(), "type": "invalid_request_error" } });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

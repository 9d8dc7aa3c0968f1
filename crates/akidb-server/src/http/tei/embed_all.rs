//! `POST /embed_all`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use akidb_embedding::EmbedOptions;

use super::embed::characters;
use super::error::TeiError;
use super::headers::headers;
use super::{TruncationDirection, on_long, prompt};
use crate::caller::Caller;
use crate::http::answer;
use crate::http::body::Body;
use crate::http::inputs::Inputs;
use crate::problem::Problem;
use crate::service::{EmbeddingService, States};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiEmbedAllRequest)]
pub(crate) struct EmbedAllRequest {
    inputs: Inputs,
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<bool>,
    /// Which end is cut off. Default: Right.
    truncation_direction: Option<TruncationDirection>,
    /// One of the model's prompts, put before each text; without it, the model's default one.
    prompt_name: Option<String>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

/// For each text, a list a token.
struct Lists(States);

impl Serialize for Lists {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Text<'a>(&'a [f32], usize);
        impl Serialize for Text<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.chunks_exact(self.1.max(1)))
            }
        }
        let States { texts, width } = &self.0;
        serializer.collect_seq(texts.iter().map(|text| Text(text, *width)))
    }
}

/// The hidden state of each token, special tokens included, neither pooled nor scaled.
#[utoipa::path(
    post,
    path = "/embed_all",
    tag = "Text Embeddings Inference",
    request_body = EmbedAllRequest,
    responses(
        (status = 200, description = "One vector a token and input, in order; headers as of `/embed`", body = Vec<Vec<Vec<f32>>>),
        (status = 400, description = "No JSON, or nothing to embed", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The body is too large, or there are too many inputs or more than 4096 tokens", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model fails, or its backend gives only one state a text", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
        (status = 504, description = "Others that ask for this took all of the request's time", body = TeiError),
    )
)]
pub(crate) async fn embed_all(
    State(service): State<Arc<EmbeddingService>>,
    caller: Caller,
    Body(request): Body<EmbedAllRequest>,
) -> Result<Response, Problem> {
    let start = Instant::now();
    let inputs = request.inputs.not_empty("inputs")?;
    let characters = characters(&inputs);
    let options = EmbedOptions {
        prompt: prompt(request.prompt_name),
        normalize: false,
        on_long: on_long(request.truncate, request.truncation_direction),
        ..EmbedOptions::default()
    };
    let model = request.model.as_deref();
    let (states, answer) = service.states(model, inputs, options, &caller).await?;
    let headers = headers(&answer, characters, start);
    let numbers = states.texts.iter().map(Vec::len).sum();
    let body = answer::json(Lists(states), numbers).await?;
    Ok((headers, body).into_response())
}

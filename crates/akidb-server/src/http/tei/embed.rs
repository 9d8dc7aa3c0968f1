//! `POST /embed`, the same at `/`, and `POST /similarity`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::{EmbedOptions, Input, similarity as cosine};

use super::error::TeiError;
use super::headers::headers;
use super::{TruncationDirection, on_long, prompt};
use crate::ask::{Ask, ClassHeader};
use crate::http::answer;
use crate::http::body::Body;
use crate::http::inputs::Inputs;
use crate::http::schemas::Texts;
use crate::problem::{Cause, Problem};
use crate::service::{EmbedAnswer, EmbeddingService};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiEmbedRequest)]
pub(crate) struct EmbedRequest {
    inputs: Inputs,
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<bool>,
    /// Which end is cut off. Default: Right.
    truncation_direction: Option<TruncationDirection>,
    /// One of the model's prompts, put before each text; without it, the model's default one.
    prompt_name: Option<String>,
    /// Whether vectors have length 1. Default: true.
    normalize: Option<bool>,
    /// Keep only the first so many values (Matryoshka).
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

impl EmbedRequest {
    async fn run(self, service: &EmbeddingService, ask: Ask) -> Result<Response, Problem> {
        let start = Instant::now();
        let inputs = self.inputs.not_empty("inputs")?;
        let characters = characters(&inputs);
        let options = EmbedOptions {
            prompt: prompt(self.prompt_name),
            dimension: self.dimensions,
            normalize: self.normalize.unwrap_or(true),
            on_long: on_long(self.truncate, self.truncation_direction),
            ..EmbedOptions::default()
        };
        let answer = ask.embed(service, self.model, inputs, options).await?;
        let headers = headers(&answer, characters, start);
        let numbers = answer::numbers(&answer);
        let body = answer::json(Vectors(answer), numbers).await?;
        Ok((headers, body).into_response())
    }
}

/// Characters of all inputs; a token id counts as one.
pub(super) fn characters(inputs: &[Input]) -> usize {
    let of = |input: &Input| match input {
        Input::Text(text) => text.chars().count(),
        Input::Tokens(ids) => ids.len(),
    };
    inputs.iter().map(of).sum()
}

/// The vectors as they are, one list each.
#[derive(Debug)]
struct Vectors(EmbedAnswer);

impl Serialize for Vectors {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.embeddings.iter().map(answer::floats))
    }
}

/// Embeds texts or token ids.
#[utoipa::path(
    post,
    path = "/embed",
    tag = "Text Embeddings Inference",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector an input, in order", body = Vec<Vec<f32>>, headers(
            ("x-akidb-provenance" = String, description = "Where the vectors come from: JSON, as OpenAI's `provenance`"),
            ("x-akidb-tokens" = String, description = "Tokens of each input, comma between; left out where it would be longer than 4096 bytes"),
            ("x-akidb-truncated" = u64, description = "How many inputs were cut"),
            ("x-akidb-truncated-inputs" = String, description = "Which, from 0, comma between; left out where none was cut or it would be longer than 4096 bytes"),
            ("x-compute-type" = String, description = "`cpu`, or what else the model runs on"),
            ("x-compute-time" = u64, description = "Milliseconds from request to answer"),
            ("x-compute-characters" = u64, description = "Characters of all inputs"),
            ("x-compute-tokens" = u64, description = "Tokens of all inputs"),
            ("x-total-time" = u64, description = "Milliseconds from request to answer"),
            ("x-tokenization-time" = u64, description = "Milliseconds until texts were tokens"),
            ("x-queue-time" = u64, description = "Milliseconds that they waited"),
            ("x-inference-time" = u64, description = "Milliseconds that the model took"),
        )),
        (status = 400, description = "No JSON, or nothing to embed", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The body is too large, or there are too many inputs", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model fails", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
        (status = 504, description = "The answer would be too late", body = TeiError),
    )
)]
pub(crate) async fn embed(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    request.run(&service, ask).await
}

/// The same as `/embed`, where hosted endpoints have it.
#[utoipa::path(
    post,
    path = "/",
    tag = "Text Embeddings Inference",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector an input, in order", body = Vec<Vec<f32>>),
        (status = "4XX", description = "As of `/embed`", body = TeiError),
        (status = "5XX", description = "As of `/embed`", body = TeiError),
    )
)]
pub(crate) async fn embed_at_the_root(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    request.run(&service, ask).await
}

/// The same as `/embed`, where SageMaker has it.
#[utoipa::path(
    post,
    path = "/invocations",
    tag = "Text Embeddings Inference",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector an input, in order", body = Vec<Vec<f32>>),
        (status = "4XX", description = "As of `/embed`", body = TeiError),
        (status = "5XX", description = "As of `/embed`", body = TeiError),
    )
)]
pub(crate) async fn embed_at_sagemaker(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    request.run(&service, ask).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiSimilarityRequest)]
pub(crate) struct SimilarityRequest {
    inputs: SimilarityInputs,
    #[serde(default)]
    parameters: Option<SimilarityParameters>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiSimilarityInputs)]
struct SimilarityInputs {
    /// What the others are compared with.
    #[schema(min_length = 1)]
    source_sentence: String,
    /// What is compared with it.
    #[schema(value_type = Texts)]
    sentences: Inputs,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = TeiSimilarityParameters)]
struct SimilarityParameters {
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<bool>,
    /// Which end is cut off. Default: Right.
    truncation_direction: Option<TruncationDirection>,
    /// One of the model's prompts, put before each text; without it, the model's default one.
    prompt_name: Option<String>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

/// How similar texts are to one: cosines.
#[utoipa::path(
    post,
    path = "/similarity",
    tag = "Text Embeddings Inference",
    request_body = SimilarityRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One number a sentence, in order, -1 to 1; headers as of `/embed`", body = Vec<f32>),
        (status = 400, description = "No JSON, or nothing to compare", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The body is too large, or there are too many sentences", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model fails", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
        (status = 504, description = "The answer would be too late", body = TeiError),
    )
)]
pub(crate) async fn similarity(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<SimilarityRequest>,
) -> Result<Response, Problem> {
    let start = Instant::now();
    let SimilarityInputs {
        source_sentence,
        sentences,
    } = request.inputs;
    let sentences = sentences.texts("inputs.sentences")?;
    if sentences.is_empty() {
        return Err(Problem::new(
            Cause::Empty,
            "`inputs.sentences` cannot be empty",
        ));
    }
    let inputs = |texts: Vec<String>| Inputs::several(texts.into_iter().map(Input::from).collect());
    let mut texts = inputs(vec![source_sentence]).not_empty("inputs.source_sentence")?;
    texts.extend(inputs(sentences).not_empty("inputs.sentences")?);
    let inputs = texts;
    let characters = characters(&inputs);
    let parameters = request.parameters.unwrap_or_default();
    let options = EmbedOptions {
        prompt: prompt(parameters.prompt_name),
        on_long: on_long(parameters.truncate, parameters.truncation_direction),
        ..EmbedOptions::default()
    };
    let answer = ask
        .embed(&service, parameters.model, inputs, options)
        .await?;
    let headers = headers(&answer, characters, start);
    let mut vectors = answer.embeddings.iter().map(answer::floats);
    let source = vectors.next().unwrap_or_default();
    let cosines: Vec<f32> = vectors.map(|v| cosine(source, v) as f32).collect();
    Ok((headers, axum::Json(cosines)).into_response())
}

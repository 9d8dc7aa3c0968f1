//! `POST /embed_all`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Embedding, Tokens, Values};

use super::embed::characters;
use super::error::TeiError;
use super::headers::headers;
use super::{TruncationDirection, on_long, prompt};
use crate::caller::Caller;
use crate::http::answer;
use crate::http::body::Body;
use crate::http::inputs::Inputs;
use crate::problem::{Cause, Problem};
use crate::service::{EmbedAnswer, EmbeddingService, ServiceError, Timing};

/// A request's texts have no more tokens: each has a vector in the answer, of 11 KB of JSON where
/// it is 1024 wide.
const MAX_TOKENS: usize = 4096;

/// What a value takes until it is answered: as a number and as JSON.
const BYTES_PER_VALUE: usize = size_of::<f32>() + 16;

/// Such requests are not queued with the others, but run one at a time beside them.
static ONE: Semaphore = Semaphore::const_new(1);

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

/// For each text, `width` numbers a token.
#[derive(Debug)]
struct States {
    texts: Vec<Vec<f32>>,
    width: usize,
}

impl Serialize for States {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Text<'a>(&'a [f32], usize);
        impl Serialize for Text<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.chunks_exact(self.1.max(1)))
            }
        }
        serializer.collect_seq(self.texts.iter().map(|text| Text(text, self.width)))
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
        (status = 413, description = "The body or a text is too large, there are too many inputs or more than 4096 tokens, or a field's value is not possible", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field has another type, or the tokenizer fails", body = TeiError),
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
    service.check_inputs(inputs.len())?;
    let characters = characters(&inputs);
    let options = EmbedOptions {
        prompt: prompt(request.prompt_name),
        normalize: false,
        on_long: on_long(request.truncate, request.truncation_direction),
        ..EmbedOptions::default()
    };
    let model = request.model.as_deref();
    let tokens = service.tokens(model, &caller.client, inputs, &options, &caller.held);
    let tokens = tokens.await?;
    let total: usize = tokens.iter().map(|t| t.ids.len()).sum();
    if total > MAX_TOKENS {
        let message =
            format!("`inputs` has {total} tokens: at most {MAX_TOKENS} have each their vector");
        return Err(Problem::new(Cause::TooLong, message));
    }
    let tokenize = start.elapsed();
    let stopped = |_| Problem::new(Cause::Stopping, "the server is stopping");
    let turn = tokio::time::timeout(service.settings().request_timeout, ONE.acquire());
    let turn = turn.await.map_err(|_| ServiceError::DeadlineExceeded)?;
    let turn = turn.map_err(stopped)?;
    let queue = start.elapsed() - tokenize;
    let values = total.saturating_mul(service.model_facts(model).await?.dimension);
    caller.reserve(values.saturating_mul(BYTES_PER_VALUE))?;
    let (states, mut answer) = service
        .with_embedder(model, move |embedder| {
            // Until it is done, also when nobody waits any more.
            let _turn = turn;
            run(embedder, &tokens, &options)
        })
        .await?;
    answer.timing = Timing {
        tokenize,
        queue,
        ..answer.timing
    };
    let headers = headers(&answer, characters, start);
    let numbers = states.texts.iter().map(Vec::len).sum();
    Ok((headers, answer::json(states, numbers).await?).into_response())
}

/// The states, and an answer without vectors that tells of them.
fn run(
    embedder: &Embedder,
    tokens: &[Tokens],
    options: &EmbedOptions,
) -> Result<(States, EmbedAnswer), EmbedError> {
    let start = Instant::now();
    let ids: Vec<&[u32]> = tokens.iter().map(|t| t.ids.as_slice()).collect();
    let states = States {
        texts: embedder.forward_all(&ids)?,
        width: embedder.dimension(),
    };
    let told = |t: &Tokens| Embedding {
        values: Values::F32(Vec::new()),
        tokens: t.ids.len(),
        truncated: t.truncated,
    };
    let answer = EmbedAnswer {
        embeddings: tokens.iter().map(told).collect(),
        total_tokens: ids.iter().map(|ids| ids.len()).sum(),
        provenance: Arc::new(embedder.provenance(options)?),
        timing: Timing {
            compute: start.elapsed(),
            ..Timing::default()
        },
    };
    Ok((states, answer))
}

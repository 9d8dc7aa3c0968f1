//! `POST /tokenize` and `POST /decode`.

use std::io;
use std::sync::Arc;

use axum::body::{Body as AnswerBody, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::{EmbedOptions, Piece};

use super::error::TeiError;
use super::prompt;
use crate::caller::Caller;
use crate::http::answer;
use crate::http::body::Body;
use crate::http::inputs::Inputs;
use crate::http::schemas::{Ids, Texts};
use crate::problem::{Cause, Problem};
use crate::room::Reserved;
use crate::service::{EmbeddingService, Pieces, PiecesPart, ServiceError};

/// What a byte takes until it is answered: it can become a token of some hundred bytes, whose JSON has 70.
const BYTES_PER_BYTE: usize = 256;

/// What is there of an answer at a time, about: the JSON of some thousand tokens.
const PART_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiTokenizeRequest)]
pub(crate) struct TokenizeRequest {
    #[schema(value_type = Texts)]
    inputs: Inputs,
    /// Whether the model's special tokens are among them. Default: true.
    add_special_tokens: Option<bool>,
    /// One of the model's prompts, put before each text; without it, the model's default one.
    prompt_name: Option<String>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiToken)]
struct Token {
    /// Its id.
    id: u32,
    /// What it stands for in the text; a special token's own name.
    text: String,
    /// Whether it is one of the model's own, put around the text.
    special: bool,
    /// Where it starts in prompt and text, in bytes.
    start: Option<usize>,
    /// Where it stops.
    stop: Option<usize>,
}

impl From<Piece> for Token {
    fn from(piece: Piece) -> Self {
        Self {
            id: piece.id,
            text: piece.text,
            special: piece.special,
            start: piece.range.as_ref().map(|range| range.start),
            stop: piece.range.map(|range| range.end),
        }
    }
}

/// The tokens of texts.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "Text Embeddings Inference",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "One list of tokens a text, in order", body = Vec<Vec<Token>>),
        (status = 400, description = "No JSON, or nothing to tokenize", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The texts are too many or too large together", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model can't be loaded", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
    )
)]
pub(crate) async fn tokenize(
    State(service): State<Arc<EmbeddingService>>,
    caller: Caller,
    Body(request): Body<TokenizeRequest>,
) -> Result<Response, Problem> {
    let texts = request.inputs.texts("inputs")?;
    let bytes: usize = texts.iter().map(String::len).sum();
    service.check_inputs(texts.len())?;
    if texts.iter().all(String::is_empty) {
        return Err(Problem::new(Cause::Empty, "`inputs` cannot be empty"));
    }
    let part = bytes.saturating_mul(BYTES_PER_BYTE).min(PART_BYTES);
    caller
        .reserve(bytes.saturating_add(part))
        .map_err(ServiceError::from)?;
    let options = EmbedOptions {
        prompt: prompt(request.prompt_name),
        ..EmbedOptions::default()
    };
    let special = request.add_special_tokens.unwrap_or(true);
    let model = request.model.as_deref();
    let pieces = service.pieces(model, &caller.client, texts, special, options);
    let mut answer = TokensAnswer {
        pieces: pieces.await?,
        _texts: caller.held.part(bytes),
    };
    // What goes wrong here has a status of its own. Later, the answer is cut.
    let first = answer.next().await?.unwrap_or_default();
    let body = if answer.pieces.is_done() {
        AnswerBody::from(first)
    } else {
        let rest = stream::unfold(answer, |mut answer| async move {
            let next = answer.next().await.transpose()?;
            let cut = |problem: Problem| io::Error::other(problem.message);
            Some((next.map_err(cut), answer))
        });
        let first = stream::once(async { Ok(first) });
        AnswerBody::from_stream(first.chain(rest))
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The JSON of tokens, made as it is sent.
struct TokensAnswer {
    pieces: Pieces,
    _texts: Reserved,
}

impl TokensAnswer {
    /// The next part; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(json) = self.pieces.next(json).await? else {
            return Ok(None);
        };
        let failed = |_| Problem::new(Cause::Model, "the answer can't be written");
        let mut json = json.map_err(failed)?;
        if self.pieces.is_done() {
            json.push(b']');
        }
        // What counts is what is sent.
        json.shrink_to_fit();
        Ok(Some(json.into()))
    }
}

/// The JSON of some tokens, all but the last bracket.
fn json(parts: Vec<PiecesPart>) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    for part in parts {
        if part.before.is_none() {
            json.extend(if part.text == 0 { b"[[" } else { b",[" });
        }
        let mut separated = part.before.is_none_or(|before| before == 0);
        for piece in part.pieces {
            if !separated {
                json.push(b',');
            }
            separated = false;
            serde_json::to_writer(&mut json, &Token::from(piece))?;
        }
        if part.ends {
            json.push(b']');
        }
    }
    Ok(json)
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiDecodeRequest)]
pub(crate) struct DecodeRequest {
    #[schema(value_type = Ids)]
    ids: Inputs,
    /// Whether special tokens are left out. Default: true.
    skip_special_tokens: Option<bool>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

/// The texts that token ids stand for.
#[utoipa::path(
    post,
    path = "/decode",
    tag = "Text Embeddings Inference",
    request_body = DecodeRequest,
    responses(
        (status = 200, description = "One text a list of ids, in order", body = Vec<String>),
        (status = 400, description = "No JSON, or nothing to decode", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The body is too large, or there are too many lists or ids", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model can't be loaded", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
    )
)]
pub(crate) async fn decode(
    State(service): State<Arc<EmbeddingService>>,
    caller: Caller,
    Body(request): Body<DecodeRequest>,
) -> Result<Response, Problem> {
    let lists = request.ids.ids("ids")?;
    if lists.iter().all(Vec::is_empty) {
        return Err(Problem::new(Cause::Empty, "`ids` cannot be empty"));
    }
    let numbers = lists.iter().map(Vec::len).sum();
    let skip_special = request.skip_special_tokens.unwrap_or(true);
    let model = request.model.as_deref();
    let texts = service.decode(model, &caller, lists, skip_special).await?;
    answer::json(texts, numbers).await
}

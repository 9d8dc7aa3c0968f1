//! `POST /rerank`: TEI's, with `texts`; with `documents` that of most others.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::{RerankOptions, Score, Scoring};

use super::error::TeiError;
use super::{TruncationDirection, on_long};
use crate::ask::{Ask, ClassHeader, Ranking};
use crate::http::answer;
use crate::http::body::Body;
use crate::http::rerank::{self, Documents, Rerank, RerankRequest, RerankResponse};
use crate::http::truncate::Truncate;
use crate::interface::Interface;
use crate::problem::{Cause, Problem};
use crate::service::EmbeddingService;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeiRerankRequest)]
pub(crate) struct Request {
    /// What the texts should answer.
    query: String,
    /// The texts; these or `documents`.
    texts: Option<Vec<String>>,
    /// Whether scores are the model's logits; otherwise their sigmoids. Default: false. Without effect
    /// on a model that scores by cosine.
    raw_scores: Option<bool>,
    /// Whether the answer has the texts, too. Default: false.
    return_text: Option<bool>,
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<Truncate>,
    /// Which end is cut off. Default: Right.
    truncation_direction: Option<TruncationDirection>,
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
    /// As in `/v1/rerank`, for a request and an answer of that kind.
    documents: Option<Documents>,
    /// The same.
    top_n: Option<usize>,
    /// The same.
    return_documents: Option<bool>,
    /// The same.
    rank_fields: Option<Vec<String>>,
    /// The same.
    max_tokens_per_doc: Option<usize>,
    /// The same.
    truncate_prompt_tokens: Option<i64>,
    /// The same.
    instruction: Option<String>,
    /// The same.
    #[schema(value_type = Option<String>, example = "model")]
    scoring: Option<Scoring>,
    /// The same.
    #[schema(maximum = 999)]
    priority: Option<u32>,
}

impl Request {
    /// The same as others than TEI would have sent it.
    fn of_documents(self, documents: Documents) -> RerankRequest {
        RerankRequest {
            model: self.model,
            query: self.query,
            documents,
            top_n: self.top_n,
            return_documents: self.return_documents,
            rank_fields: self.rank_fields,
            max_tokens_per_doc: self.max_tokens_per_doc,
            truncate_prompt_tokens: self.truncate_prompt_tokens,
            truncate: self.truncate,
            instruction: self.instruction,
            scoring: self.scoring,
            priority: self.priority,
            ..RerankRequest::default()
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiRank)]
struct Rank {
    /// Which text.
    index: usize,
    /// How well it answers the query.
    score: f32,
    /// The text, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// What is answered: by `texts` as TEI, by `documents` as `/v1/rerank`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiOrRerankResponse)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its documentation is used")]
enum Answer {
    Texts(Vec<Rank>),
    Documents(Box<RerankResponse>),
}

/// Ranks texts for a query, the best first; a request with `documents` is answered as by `/v1/rerank`.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "Text Embeddings Inference",
    request_body = Request,
    params(ClassHeader),
    responses(
        (status = 200, description = "The texts' scores, the best first", body = Answer),
        (status = 400, description = "No JSON, or nothing to rank", body = TeiError),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 413, description = "The body is too large, or there are too many texts", body = TeiError),
        (status = 415, description = "The body is not said to be JSON", body = TeiError),
        (status = 422, description = "A field's type or value is not possible, a text is too long, or the tokenizer fails", body = TeiError),
        (status = 424, description = "The model fails", body = TeiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = TeiError),
        (status = 503, description = "The server is stopping", body = TeiError),
        (status = 504, description = "The answer would be too late", body = TeiError),
    )
)]
pub(crate) async fn rerank(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<Request>,
) -> Result<Response, Problem> {
    let mut request = request;
    match (request.texts.take(), request.documents.take()) {
        (Some(texts), None) => of_texts(&service, ask, request, texts).await,
        (None, Some(documents)) => {
            let answer = rerank::run(&service, ask, request.of_documents(documents), "1").await;
            // Its clients expect their own errors, too.
            Ok(answer.unwrap_or_else(|problem| Rerank.finish(problem.into_response())))
        }
        (None, None) => Err(Problem::new(Cause::Type, "missing field `texts`").at("texts")),
        (Some(_), Some(_)) => {
            let message = "`texts` or `documents`, not both";
            Err(Problem::invalid("documents", message))
        }
    }
}

async fn of_texts(
    service: &EmbeddingService,
    ask: Ask,
    request: Request,
    texts: Vec<String>,
) -> Result<Response, Problem> {
    if texts.is_empty() {
        return Err(Problem::new(Cause::Empty, "`texts` cannot be empty").at("texts"));
    }
    let ranking = Ranking {
        model: request.model,
        query: request.query,
        documents: texts,
        options: RerankOptions {
            on_long: match request.truncate {
                None | Some(Truncate::AsModel) => on_long(None, request.truncation_direction),
                Some(said) => said.on_long(),
            },
            scoring: request.scoring,
            ..RerankOptions::default()
        },
        keep_documents: request.return_text.unwrap_or_default(),
    };
    let mut found = ask.rerank(service, ranking).await?;
    let scoring = found.provenance.scoring.unwrap_or(Scoring::Model);
    let score = |score: &Score| match request.raw_scores {
        Some(true) => score.logit,
        _ => score.probability(scoring),
    };
    let texts = &mut found.documents;
    let ranks = found.scores.iter().map(|found| Rank {
        index: found.index,
        score: score(found),
        text: texts.get_mut(found.index).map(std::mem::take),
    });
    let ranks: Vec<Rank> = ranks.collect();
    let numbers = ranks.len();
    answer::json(ranks, numbers).await
}

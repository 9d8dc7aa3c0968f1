//! `Rerank` between the messages and the service's own types.

use std::sync::Arc;

use akidb_embedding::{OnLong, RerankOptions, Scoring};

use super::proto;
use super::request::{number, provenance};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::service::{Class, RerankAnswer, RerankRequest};

/// What a message asks for.
pub(super) fn request(
    request: proto::RerankRequest,
    caller: &Caller,
    class: Class,
) -> Result<RerankRequest, Problem> {
    let scoring = proto::Scoring::try_from(request.scoring)
        .map_err(|_| Problem::invalid("scoring", "there is no such scoring"))?;
    if request.query.is_empty() {
        return Err(Problem::invalid("query", "`query` cannot be empty"));
    }
    if request.documents.is_empty() {
        return Err(Problem::invalid(
            "documents",
            "there is no document to rank",
        ));
    }
    if request.max_tokens_per_document == Some(0) {
        let wrong = "`max_tokens_per_document` is 1 and more";
        return Err(Problem::invalid("max_tokens_per_document", wrong));
    }
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(RerankRequest {
        model: request.model,
        query: request.query,
        documents: request.documents,
        options: RerankOptions {
            scoring: match scoring {
                proto::Scoring::Unspecified => None,
                proto::Scoring::Model => Some(Scoring::Model),
                proto::Scoring::Cosine => Some(Scoring::Cosine),
            },
            instruction: request.instruction,
            max_tokens: None,
            max_document_tokens: request.max_tokens_per_document.map(size),
            on_long: match request.truncate {
                Some(false) => OnLong::Error,
                None | Some(true) => OnLong::Truncate,
            },
            top_n: Some(size(request.top_n)).filter(|most| *most > 0),
        },
        keep_documents: request.return_documents,
        class,
        client: Arc::clone(&caller.client),
        deadline: caller.deadline,
    })
}

pub(super) fn response(mut answer: RerankAnswer, milliseconds: f64) -> proto::RerankResponse {
    let texts = &mut answer.documents;
    let documents = answer.scores.iter().map(|score| proto::RankedDocument {
        index: number(score.index),
        score: score.score,
        logit: score.logit,
        tokens: number(score.tokens),
        truncated: score.truncated,
        text: texts.get_mut(score.index).map(std::mem::take),
    });
    proto::RerankResponse {
        documents: documents.collect(),
        model: answer.provenance.model.clone(),
        usage: Some(proto::Usage {
            total_tokens: answer.total_tokens as u64,
            duration_ms: milliseconds,
        }),
        provenance: Some(provenance(&answer.provenance)),
    }
}

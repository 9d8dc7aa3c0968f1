//! Text Embeddings Inference's `Rerank`: the texts of one message, or one text a message.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use akidb_embedding::{OnLong, RerankOptions, Score, Scoring};
use futures_util::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::bulk::caller;
use super::request::number;
use super::status::status;
use super::tei::{Tei, answered, metadata, on_long};
use super::tei_proto::rerank_server::Rerank;
use super::tei_proto::{Rank, RerankRequest, RerankResponse, RerankStreamRequest};
use crate::ask::class;
use crate::caller::Caller;
use crate::problem::{Cause, Problem};
use crate::service::{self, Class, RerankAnswer, ServiceError};

/// Texts for one query that are cut in one way.
struct Group {
    query: String,
    on_long: OnLong,
    /// Their numbers among all texts of the call.
    indices: Vec<usize>,
    texts: Vec<String>,
}

impl Tei {
    async fn ranked(
        &self,
        group: Group,
        return_text: bool,
        (caller, class): (&Caller, Class),
    ) -> Result<RerankAnswer, Problem> {
        let request = service::RerankRequest {
            model: None,
            query: group.query,
            documents: group.texts,
            options: RerankOptions {
                on_long: group.on_long,
                ..RerankOptions::default()
            },
            keep_documents: return_text,
            class,
            client: Arc::clone(&caller.client),
            deadline: caller.deadline,
        };
        Ok(self
            .bulk
            .service
            .rerank_within(request, &caller.held)
            .await?)
    }

    async fn of_message(
        &self,
        request: RerankRequest,
        caller: (&Caller, Class),
    ) -> Result<RerankResponse, Problem> {
        let start = Instant::now();
        let (raw, texts) = (request.raw_scores, &request.texts);
        if texts.is_empty() {
            return Err(Problem::new(Cause::Empty, "`texts` cannot be empty").at("texts"));
        }
        let characters = texts.iter().map(|text| text.chars().count()).sum::<usize>();
        let group = Group {
            on_long: on_long(request.truncate, request.truncation_direction)?,
            query: request.query,
            indices: (0..texts.len()).collect(),
            texts: request.texts,
        };
        let indices = group.indices.clone();
        let answer = self.ranked(group, request.return_text, caller).await?;
        let metadata = metadata(answer.total_tokens, &answer.timing, characters, start);
        Ok(RerankResponse {
            ranks: ranks(answer, &indices, raw).map(|(_, rank)| rank).collect(),
            metadata: Some(metadata),
        })
    }

    async fn of_messages(
        &self,
        messages: Streaming<RerankStreamRequest>,
        caller: &Caller,
    ) -> Result<RerankResponse, Status> {
        let start = Instant::now();
        let mut messages = pin!(self.bulk.messages(messages, &caller.held));
        let (mut groups, mut first) = (Vec::<Group>::new(), None);
        let (mut count, mut bytes, mut characters) = (0, 0_usize, 0);
        while let Some(message) = messages.next().await {
            let message = message?;
            first.get_or_insert((message.raw_scores, message.return_text));
            bytes = bytes
                .saturating_add(message.query.len())
                .saturating_add(message.text.len());
            characters += message.text.chars().count();
            let room = caller.reserve(bytes).map_err(ServiceError::from);
            let fits = room.and_then(|()| self.bulk.service.check_inputs(count + 1));
            fits.map_err(|error| status(&error.into()))?;
            add(&mut groups, message, count).map_err(|problem| status(&problem))?;
            count += 1;
        }
        let Some((raw, return_text)) = first else {
            let empty = Problem::new(Cause::Empty, "there is no text to rank").at("text");
            return Err(status(&empty));
        };
        let mut all = Vec::with_capacity(count);
        let (mut tokens, mut timing) = (0, service::Timing::default());
        for group in groups {
            let indices = group.indices.clone();
            let answer = self.ranked(group, return_text, (caller, Class::Bulk)).await;
            let answer = answer.map_err(|problem| status(&problem))?;
            tokens += answer.total_tokens;
            timing = answer.timing;
            all.extend(ranks(answer, &indices, raw));
        }
        // As they are sorted within a group: the logit tells apart what rounds to the same.
        all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(RerankResponse {
            ranks: all.into_iter().map(|(_, rank)| rank).collect(),
            metadata: Some(metadata(tokens, &timing, characters, start)),
        })
    }
}

/// Adds a text to those of its query.
fn add(groups: &mut Vec<Group>, message: RerankStreamRequest, index: usize) -> Result<(), Problem> {
    let on_long = on_long(message.truncate, message.truncation_direction)?;
    match groups.last_mut() {
        Some(group) if group.query == message.query && group.on_long == on_long => {
            group.indices.push(index);
            group.texts.push(message.text);
        }
        _ => groups.push(Group {
            query: message.query,
            on_long,
            indices: vec![index],
            texts: vec![message.text],
        }),
    }
    Ok(())
}

/// The ranks of texts with these numbers, each with its logit.
fn ranks(
    answer: RerankAnswer,
    indices: &[usize],
    raw: bool,
) -> impl Iterator<Item = (f32, Rank)> + use<'_> {
    let scoring = answer.provenance.scoring.unwrap_or(Scoring::Model);
    let mut texts = answer.documents;
    answer.scores.into_iter().map(move |found: Score| {
        let index = indices.get(found.index).copied().unwrap_or(found.index);
        let rank = Rank {
            index: number(index),
            text: texts.get_mut(found.index).map(std::mem::take),
            score: match raw {
                true => found.logit,
                false => found.probability(scoring),
            },
        };
        (found.logit, rank)
    })
}

#[tonic::async_trait]
impl Rerank for Tei {
    async fn rerank(
        &self,
        request: Request<RerankRequest>,
    ) -> Result<Response<RerankResponse>, Status> {
        let caller = caller(&request);
        let class = class(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let request = request.into_inner();
        let class = class.unwrap_or_else(|| self.bulk.service.class_of(request.texts.len()));
        answered(self.of_message(request, (&caller, class)).await)
    }

    async fn rerank_stream(
        &self,
        request: Request<Streaming<RerankStreamRequest>>,
    ) -> Result<Response<RerankResponse>, Status> {
        let caller = caller(&request);
        let answer = self.of_messages(request.into_inner(), &caller).await?;
        Ok(Response::new(answer))
    }
}

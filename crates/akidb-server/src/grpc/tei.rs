//! The calls of Text Embeddings Inference's services: one text a message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Request, Response, Status, Streaming};

use akidb_embedding::{EmbedOptions, Input, OnLong, Piece, Prompt};

use super::bulk::{Answers, Bulk, caller};
use super::request::number;
use super::status::status;
use super::tei_proto::embed_server::Embed;
use super::tei_proto::info_server::Info;
use super::tei_proto::tokenize_server::Tokenize;
use super::tei_proto::{
    DecodeRequest, DecodeResponse, EmbedAllRequest, EmbedAllResponse, EmbedRequest, EmbedResponse,
    EncodeRequest, EncodeResponse, InfoRequest, InfoResponse, Metadata, ModelType, SimpleToken,
    TokenEmbedding, TruncationDirection,
};
use crate::ask::class;
use crate::caller::Caller;
use crate::problem::{Cause, Problem};
use crate::service::{
    self, Class, EmbedAnswer, EmbeddingService, MostInputs, ServiceError, Timing,
};

/// What a byte of text takes until its tokens are answered: it can become one, whose text, numbers and
/// message take some hundred.
const BYTES_PER_BYTE: usize = 256;

#[derive(Debug, Clone)]
pub(super) struct Tei {
    service: Arc<EmbeddingService>,
    pub(super) bulk: Bulk,
}

impl Tei {
    pub(super) fn new(bulk: Bulk) -> Self {
        Self {
            service: Arc::clone(&bulk.service),
            bulk,
        }
    }

    fn request(
        request: EmbedRequest,
        caller: &Caller,
        class: Class,
    ) -> Result<service::EmbedRequest, Problem> {
        let options = EmbedOptions {
            prompt: prompt(request.prompt_name),
            dimension: request
                .dimensions
                .map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            normalize: request.normalize,
            on_long: on_long(request.truncate, request.truncation_direction)?,
            ..EmbedOptions::default()
        };
        Ok(service::EmbedRequest {
            model: None,
            inputs: vec![input(request.inputs)?],
            options,
            class,
            client: Arc::clone(&caller.client),
            deadline: caller.deadline,
        })
    }

    async fn states_of(
        &self,
        request: EmbedAllRequest,
        caller: &Caller,
    ) -> Result<EmbedAllResponse, Problem> {
        let start = Instant::now();
        let characters = request.inputs.chars().count();
        let options = EmbedOptions {
            prompt: prompt(request.prompt_name),
            normalize: false,
            on_long: on_long(request.truncate, request.truncation_direction)?,
            ..EmbedOptions::default()
        };
        let inputs = vec![input(request.inputs)?];
        let (states, answer) = self.service.states(None, inputs, options, caller).await?;
        let tokens = states.texts.iter().flat_map(|text| {
            let each = text.chunks_exact(states.width.max(1));
            each.map(|state| TokenEmbedding {
                embeddings: state.to_vec(),
            })
        });
        Ok(EmbedAllResponse {
            token_embeddings: tokens.collect(),
            metadata: Some(metadata(
                answer.total_tokens,
                &answer.timing,
                characters,
                start,
            )),
        })
    }

    async fn tokens_of(
        &self,
        request: EncodeRequest,
        caller: &Caller,
    ) -> Result<EncodeResponse, Problem> {
        let bytes = request.inputs.len().saturating_mul(BYTES_PER_BYTE);
        caller.reserve(bytes).map_err(ServiceError::from)?;
        let options = EmbedOptions {
            prompt: prompt(request.prompt_name),
            ..EmbedOptions::default()
        };
        let special = request.add_special_tokens;
        let texts = vec![request.inputs];
        let pieces = self
            .service
            .pieces(None, &caller.client, texts, special, options);
        let mut pieces = pieces.await?;
        let mut tokens = Vec::new();
        while let Some(parts) = pieces.next(|parts| parts).await? {
            let parts = parts.into_iter().flat_map(|part| part.pieces);
            tokens.extend(parts.map(token));
        }
        Ok(EncodeResponse { tokens })
    }

    async fn text_of(
        &self,
        request: DecodeRequest,
        caller: &Caller,
    ) -> Result<DecodeResponse, Problem> {
        let skip = request.skip_special_tokens;
        let lists = vec![request.ids];
        let texts = self.service.decode(None, caller, lists, skip).await?;
        Ok(DecodeResponse {
            text: texts.into_iter().next().unwrap_or_default(),
        })
    }
}

fn prompt(name: Option<String>) -> Prompt {
    name.map_or(Prompt::Default, Prompt::Named)
}

fn input(text: String) -> Result<Input<'static>, Problem> {
    if text.is_empty() {
        let problem = Problem::new(Cause::Empty, "`inputs` cannot be empty");
        return Err(problem.at("inputs"));
    }
    Ok(text.into())
}

pub(super) fn on_long(truncate: bool, direction: i32) -> Result<OnLong, Problem> {
    let direction = TruncationDirection::try_from(direction).map_err(|_| {
        Problem::invalid(
            "truncation_direction",
            "there is no such truncation direction",
        )
    })?;
    Ok(match (truncate, direction) {
        (false, _) => OnLong::Error,
        (true, TruncationDirection::Right) => OnLong::TruncateEnd,
        (true, TruncationDirection::Left) => OnLong::TruncateStart,
    })
}

fn token(piece: Piece) -> SimpleToken {
    SimpleToken {
        id: piece.id,
        text: piece.text,
        special: piece.special,
        start: piece.range.as_ref().map(|range| number(range.start)),
        stop: piece.range.map(|range| number(range.end)),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn metadata(
    tokens: usize,
    timing: &Timing,
    characters: usize,
    start: Instant,
) -> Metadata {
    Metadata {
        compute_chars: number(characters),
        compute_tokens: number(tokens),
        total_time_ns: nanoseconds(start.elapsed()),
        tokenization_time_ns: nanoseconds(timing.tokenize),
        queue_time_ns: nanoseconds(timing.queue),
        inference_time_ns: nanoseconds(timing.compute),
    }
}

fn response(answer: EmbedAnswer, characters: usize, start: Instant) -> EmbedResponse {
    let metadata = metadata(answer.total_tokens, &answer.timing, characters, start);
    let vector = answer.embeddings.into_iter().next();
    let vector = vector.and_then(|embedding| embedding.values.into_f32());
    EmbedResponse {
        embeddings: vector.unwrap_or_default(),
        metadata: Some(metadata),
    }
}

/// The answer to one message.
pub(super) fn answered<T>(answer: Result<T, Problem>) -> Result<Response<T>, Status> {
    answer
        .map(Response::new)
        .map_err(|problem| status(&problem))
}

#[tonic::async_trait]
impl Info for Tei {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let facts = self.service.model_facts(None).await;
        let facts = facts.map_err(|error| status(&error.into()))?;
        let settings = self.service.settings();
        Ok(Response::new(InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sha: None,
            docker_label: None,
            model_id: facts.provenance.model,
            model_sha: facts.provenance.revision,
            model_dtype: facts.provenance.precision,
            model_type: match facts.embeds {
                true => ModelType::Embedding.into(),
                false => ModelType::Reranker.into(),
            },
            max_concurrent_requests: number(settings.max_connections),
            max_input_length: number(facts.max_tokens),
            max_batch_tokens: number(settings.max_batch_tokens),
            max_batch_requests: None,
            max_client_batch_size: number(settings.max_client_batch_size),
            tokenization_workers: number(service::tokenizing_threads()),
        }))
    }
}

#[tonic::async_trait]
impl Embed for Tei {
    async fn embed(
        &self,
        request: Request<EmbedRequest>,
    ) -> Result<Response<EmbedResponse>, Status> {
        let start = Instant::now();
        let caller = caller(&request);
        let class = class(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let class = class.unwrap_or_else(|| self.service.class_of(1));
        let request = request.into_inner();
        let characters = request.inputs.chars().count();
        let request = Self::request(request, &caller, class).map_err(|problem| status(&problem))?;
        let answer = self
            .service
            .embed_within(request, &caller.held, MostInputs::Setting)
            .await;
        let answer = answer.map_err(|error| status(&error.into()))?;
        Ok(Response::new(response(answer, characters, start)))
    }

    type EmbedStreamStream = Answers<EmbedResponse>;

    async fn embed_stream(
        &self,
        request: Request<Streaming<EmbedRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let bulk = self.bulk.clone();
        let answers = self
            .bulk
            .answers(request, move |request: EmbedRequest, caller| {
                let bulk = bulk.clone();
                async move {
                    let start = Instant::now();
                    let characters = request.inputs.chars().count();
                    let request = Self::request(request, &caller, Class::Bulk);
                    let request = request.map_err(|problem| status(&problem))?;
                    let answer = bulk.embed(request, &caller.held).await;
                    let answer = answer.map_err(|error| status(&error.into()))?;
                    Ok(response(answer, characters, start))
                }
            });
        Ok(Response::new(answers))
    }

    async fn embed_all(
        &self,
        request: Request<EmbedAllRequest>,
    ) -> Result<Response<EmbedAllResponse>, Status> {
        let caller = caller(&request);
        answered(self.states_of(request.into_inner(), &caller).await)
    }

    type EmbedAllStreamStream = Answers<EmbedAllResponse>;

    async fn embed_all_stream(
        &self,
        request: Request<Streaming<EmbedAllRequest>>,
    ) -> Result<Response<Self::EmbedAllStreamStream>, Status> {
        let tei = self.clone();
        let answers = self.bulk.answers(request, move |request, caller| {
            let tei = tei.clone();
            async move {
                let answer = tei.states_of(request, &caller).await;
                answer.map_err(|problem| status(&problem))
            }
        });
        Ok(Response::new(answers))
    }
}

#[tonic::async_trait]
impl Tokenize for Tei {
    async fn tokenize(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<EncodeResponse>, Status> {
        let caller = caller(&request);
        answered(self.tokens_of(request.into_inner(), &caller).await)
    }

    type TokenizeStreamStream = Answers<EncodeResponse>;

    async fn tokenize_stream(
        &self,
        request: Request<Streaming<EncodeRequest>>,
    ) -> Result<Response<Self::TokenizeStreamStream>, Status> {
        let tei = self.clone();
        let answers = self.bulk.answers(request, move |request, caller| {
            let tei = tei.clone();
            async move {
                let answer = tei.tokens_of(request, &caller).await;
                answer.map_err(|problem| status(&problem))
            }
        });
        Ok(Response::new(answers))
    }

    async fn decode(
        &self,
        request: Request<DecodeRequest>,
    ) -> Result<Response<DecodeResponse>, Status> {
        let caller = caller(&request);
        answered(self.text_of(request.into_inner(), &caller).await)
    }

    type DecodeStreamStream = Answers<DecodeResponse>;

    async fn decode_stream(
        &self,
        request: Request<Streaming<DecodeRequest>>,
    ) -> Result<Response<Self::DecodeStreamStream>, Status> {
        let tei = self.clone();
        let answers = self.bulk.answers(request, move |request, caller| {
            let tei = tei.clone();
            async move {
                let answer = tei.text_of(request, &caller).await;
                answer.map_err(|problem| status(&problem))
            }
        });
        Ok(Response::new(answers))
    }
}

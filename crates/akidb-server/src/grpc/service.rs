//! The calls of `akidb.embedding.v1.EmbeddingService`.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::bulk::{Answers, Bulk, caller};
use super::proto::embed_stream_response::Result as StreamResult;
use super::proto::embedding_service_server::EmbeddingService;
use super::proto::rerank_stream_response::Result as RerankResult;
use super::proto::{
    EmbedError, EmbedRequest, EmbedResponse, EmbedStreamRequest, EmbedStreamResponse,
    GetModelInfoRequest, GetModelInfoResponse, RerankError, RerankRequest, RerankResponse,
    RerankStreamRequest, RerankStreamResponse,
};
use super::request::{check_pooling, inputs, number, options, provenance, response, scoring};
use super::rerank;
use super::status::status;
use crate::ask::class;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::service::{self, Class, MostInputs};

#[derive(Debug, Clone)]
pub(super) struct Calls {
    service: Arc<service::EmbeddingService>,
    bulk: Bulk,
}

impl Calls {
    pub(super) fn new(bulk: Bulk) -> Self {
        Self {
            service: Arc::clone(&bulk.service),
            bulk,
        }
    }

    async fn prepare(
        &self,
        request: EmbedRequest,
        caller: &Caller,
        class: Class,
    ) -> Result<service::EmbedRequest, Problem> {
        let options = options(&request)?;
        if request.pooling.is_some() {
            let facts = self.service.model_facts(request.model.as_deref()).await?;
            check_pooling(request.pooling.as_deref(), &facts.provenance.pooling)?;
        }
        Ok(service::EmbedRequest {
            model: request.model,
            inputs: inputs(request.texts)?,
            options,
            class,
            client: Arc::clone(&caller.client),
            deadline: caller.deadline,
        })
    }

    /// One request of a bulk call.
    async fn embed_in_bulk(
        &self,
        request: EmbedRequest,
        caller: &Caller,
    ) -> Result<EmbedResponse, Problem> {
        let start = Instant::now();
        let request = self.prepare(request, caller, Class::Bulk).await?;
        let answer = self.bulk.embed(request, &caller.held).await?;
        Ok(response(answer, milliseconds(start)))
    }

    /// The answer to a message.
    async fn bulk_answer(
        &self,
        request: EmbedStreamRequest,
        caller: &Caller,
    ) -> EmbedStreamResponse {
        let answer = match request.request {
            Some(request) => self.embed_in_bulk(request, caller).await,
            None => Err(Problem::invalid("request", "the message has no request")),
        };
        let result = answer.map_or_else(
            |problem| {
                let status = status(&problem);
                StreamResult::Error(EmbedError {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                })
            },
            StreamResult::Response,
        );
        EmbedStreamResponse {
            id: request.id,
            result: Some(result),
        }
    }

    /// One request of a bulk call.
    async fn rerank_in_bulk(
        &self,
        request: RerankRequest,
        caller: &Caller,
    ) -> Result<RerankResponse, Problem> {
        let start = Instant::now();
        let request = rerank::request(request, caller, Class::Bulk)?;
        let answer = self.bulk.rerank(request, &caller.held).await?;
        Ok(rerank::response(answer, milliseconds(start)))
    }

    /// The answer to a message.
    async fn bulk_ranking(
        &self,
        request: RerankStreamRequest,
        caller: &Caller,
    ) -> RerankStreamResponse {
        let answer = match request.request {
            Some(request) => self.rerank_in_bulk(request, caller).await,
            None => Err(Problem::invalid("request", "the message has no request")),
        };
        let result = answer.map_or_else(
            |problem| {
                let status = status(&problem);
                RerankResult::Error(RerankError {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                })
            },
            RerankResult::Response,
        );
        RerankStreamResponse {
            id: request.id,
            result: Some(result),
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[tonic::async_trait]
impl EmbeddingService for Calls {
    async fn embed(
        &self,
        request: Request<EmbedRequest>,
    ) -> Result<Response<EmbedResponse>, Status> {
        let start = Instant::now();
        let caller = caller(&request);
        let class = class(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let request = request.into_inner();
        let class = class.unwrap_or_else(|| self.service.class_of(request.texts.len()));
        let request = self.prepare(request, &caller, class).await;
        let request = request.map_err(|problem| status(&problem))?;
        let answer = self
            .service
            .embed_within(request, &caller.held, MostInputs::Setting)
            .await;
        let answer = answer.map_err(|error| status(&error.into()))?;
        Ok(Response::new(response(answer, milliseconds(start))))
    }

    type EmbedStreamStream = Answers<EmbedStreamResponse>;

    async fn embed_stream(
        &self,
        request: Request<Streaming<EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let calls = self.clone();
        let answers = self.bulk.answers(request, move |message, caller| {
            let calls = calls.clone();
            async move { Ok(calls.bulk_answer(message, &caller).await) }
        });
        Ok(Response::new(answers))
    }

    async fn rerank(
        &self,
        request: Request<RerankRequest>,
    ) -> Result<Response<RerankResponse>, Status> {
        let start = Instant::now();
        let caller = caller(&request);
        let class = class(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let request = request.into_inner();
        let class = class.unwrap_or_else(|| self.service.class_of(request.documents.len()));
        let request = rerank::request(request, &caller, class);
        let request = request.map_err(|problem| status(&problem))?;
        let answer = self.service.rerank_within(request, &caller.held).await;
        let answer = answer.map_err(|error| status(&error.into()))?;
        Ok(Response::new(rerank::response(answer, milliseconds(start))))
    }

    type RerankStreamStream = Answers<RerankStreamResponse>;

    async fn rerank_stream(
        &self,
        request: Request<Streaming<RerankStreamRequest>>,
    ) -> Result<Response<Self::RerankStreamStream>, Status> {
        let calls = self.clone();
        let answers = self.bulk.answers(request, move |message, caller| {
            let calls = calls.clone();
            async move { Ok(calls.bulk_ranking(message, &caller).await) }
        });
        Ok(Response::new(answers))
    }

    async fn get_model_info(
        &self,
        request: Request<GetModelInfoRequest>,
    ) -> Result<Response<GetModelInfoResponse>, Status> {
        let model = request.into_inner().model;
        let facts = self.service.model_facts(model.as_deref()).await;
        let facts = facts.map_err(|error| status(&error.into()))?;
        Ok(Response::new(GetModelInfoResponse {
            model: facts.name,
            dimension: match facts.embeds {
                true => number(facts.dimension),
                false => 0,
            },
            max_tokens: number(facts.max_tokens),
            provenance: Some(provenance(&facts.provenance)),
            embeds: facts.embeds,
            scoring: scoring(Some(facts.scoring)).into(),
        }))
    }
}

//! The calls of `akidb.embedding.v1.EmbeddingService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::proto::embed_stream_response::Result as StreamResult;
use super::proto::embedding_service_server::EmbeddingService;
use super::proto::{
    EmbedError, EmbedRequest, EmbedResponse, EmbedStreamRequest, EmbedStreamResponse,
    GetModelInfoRequest, GetModelInfoResponse,
};
use super::request::{check_pooling, inputs, number, options, provenance, response};
use super::status::status;
use crate::ask::class;
use crate::caller::Caller;
use crate::lifecycle::Lifecycle;
use crate::problem::Problem;
use crate::room::Reserved;
use crate::service::{self, Class, ServiceError};

/// Requests of one bulk call that are worked on at a time: one is computed while others are
/// tokenized and sent.
pub(super) const STREAM_REQUESTS: usize = 4;

/// A bulk call that holds no more may rest as long as its client wants.
const SMALL: usize = 1 << 20;

/// Bounds of the wait before a bulk request tries again to get into a queue that is too long.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

#[derive(Debug, Clone)]
pub(crate) struct Calls {
    service: Arc<service::EmbeddingService>,
    lifecycle: Lifecycle,
}

impl Calls {
    pub(crate) fn new(service: Arc<service::EmbeddingService>, lifecycle: Lifecycle) -> Self {
        Self { service, lifecycle }
    }

    async fn prepare(
        &self,
        request: EmbedRequest,
        caller: Caller,
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
            client: caller.client,
            deadline: caller.deadline,
        })
    }

    /// One request of a bulk call: waits for its place in the queue instead of being refused, and as long
    /// as one request may take for room.
    async fn embed_in_bulk(
        &self,
        request: EmbedRequest,
        caller: Caller,
        held: &Reserved,
    ) -> Result<EmbedResponse, Problem> {
        let start = Instant::now();
        let request = self.prepare(request, caller, Class::Bulk).await?;
        loop {
            match self.service.embed_within(request.clone(), held).await {
                Err(ServiceError::Overloaded { retry_after }) => {
                    held.shrink_to(0);
                    tokio::time::sleep(retry_after.clamp(RETRY.0, RETRY.1)).await;
                }
                Err(error @ ServiceError::NoRoom { needed, .. }) => {
                    // Who waits gives back what others may wait for.
                    held.shrink_to(0);
                    let room = held.wait(|held| held.reach(needed));
                    let room = tokio::time::timeout(self.service.settings().request_timeout, room);
                    room.await.map_err(|_| error)?;
                }
                answer => return Ok(response(answer?, milliseconds(start))),
            }
        }
    }

    /// The answer to a message, and what is held for it.
    async fn bulk_answer(
        &self,
        request: EmbedStreamRequest,
        caller: Caller,
    ) -> (EmbedStreamResponse, Reserved) {
        let held = self.service.room().start();
        let answer = match request.request {
            Some(request) => self.embed_in_bulk(request, caller, &held).await,
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
        let answer = EmbedStreamResponse {
            id: request.id,
            result: Some(result),
        };
        held.shrink_to(answer.encoded_len());
        (answer, held)
    }
}

/// The messages of a bulk call.
struct Messages {
    from: Streaming<EmbedStreamRequest>,
    lifecycle: Lifecycle,
    /// What the call holds as long as it lasts.
    held: Arc<Reserved>,
    /// How long it may rest with it.
    rest: Duration,
    /// Each message that has no answer yet has one of these.
    work: Arc<()>,
}

impl Messages {
    /// Until the client has no more, one is broken, the call rests for too long or the server closes.
    fn stream(self) -> impl Stream<Item = Result<(EmbedStreamRequest, Arc<()>), Status>> {
        stream::unfold(Some(self), |messages| async move {
            let mut messages = messages?;
            tokio::select! {
                biased;
                () = messages.lifecycle.closing() => {
                    let end = "the server is stopping: send again what has no answer";
                    Some((Err(Status::unavailable(end)), None))
                }
                message = messages.from.next() => {
                    let message = message?.map(|message| (message, Arc::clone(&messages.work)));
                    // What comes after a broken message is none either.
                    let rest = message.is_ok().then_some(messages);
                    Some((message, rest))
                }
                () = rested(&messages.work, &messages.held, messages.rest) => {
                    let end = "no message has come for a long time: call again for the next";
                    Some((Err(Status::unavailable(end)), None))
                }
            }
        })
    }
}

/// Ends when a call that holds much has had no message for so long.
async fn rested(work: &Arc<()>, held: &Reserved, time: Duration) {
    loop {
        tokio::time::sleep(time).await;
        if Arc::strong_count(work) == 1 && held.own() > SMALL {
            return;
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_default()
}

#[tonic::async_trait]
impl EmbeddingService for Calls {
    async fn embed(
        &self,
        request: Request<EmbedRequest>,
    ) -> Result<Response<EmbedResponse>, Status> {
        let start = Instant::now();
        let caller = caller(&request);
        let held = Arc::clone(&caller.held);
        let class = class(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let request = request.into_inner();
        let class = class.unwrap_or_else(|| self.service.class_of(request.texts.len()));
        let request = self.prepare(request, caller, class).await;
        let request = request.map_err(|problem| status(&problem))?;
        let answer = self.service.embed_within(request, &held).await;
        let answer = answer.map_err(|error| status(&error.into()))?;
        Ok(Response::new(response(answer, milliseconds(start))))
    }

    type EmbedStreamStream =
        Pin<Box<dyn Stream<Item = Result<EmbedStreamResponse, Status>> + Send>>;

    async fn embed_stream(
        &self,
        request: Request<Streaming<EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let caller = caller(&request);
        let calls = self.clone();
        let messages = Messages {
            from: request.into_inner(),
            lifecycle: self.lifecycle.clone(),
            held: Arc::clone(&caller.held),
            rest: self.service.settings().keep_alive,
            work: Arc::default(),
        };
        let answers = messages
            .stream()
            .map(move |message| {
                let (calls, caller) = (calls.clone(), caller.clone());
                async move {
                    let (message, work) = message?;
                    let (answer, held) = calls.bulk_answer(message, caller).await;
                    Ok((answer, held, work))
                }
            })
            .buffered(STREAM_REQUESTS)
            // From here on it is counted as it is sent.
            .map(|answer| answer.map(|(answer, _held, _work)| answer));
        Ok(Response::new(Box::pin(answers)))
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
            dimension: number(facts.dimension),
            max_tokens: number(facts.max_tokens),
            provenance: Some(provenance(&facts.provenance)),
        }))
    }
}

//! Calls of many messages, each with its own answer, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tonic::{Request, Status, Streaming};

use crate::caller::Caller;
use crate::lifecycle::Lifecycle;
use crate::room::Reserved;
use crate::service::{
    EmbedAnswer, EmbedRequest, EmbeddingService, MostInputs, RerankAnswer, RerankRequest,
    ServiceError,
};

/// Requests of one bulk call that are worked on at a time: one is computed while others are
/// tokenized and sent.
pub(super) const STREAM_REQUESTS: usize = 4;

/// A bulk call that holds no more may rest as long as its client wants.
const SMALL: usize = 1 << 20;

/// Bounds of the wait before a bulk request tries again to get into a queue that is too long.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(super) type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// What answers bulk calls.
#[derive(Debug, Clone)]
pub(super) struct Bulk {
    pub(super) service: Arc<EmbeddingService>,
    pub(super) lifecycle: Lifecycle,
}

impl Bulk {
    /// The answers to a call's messages; the first error ends it. What is held for a message is the
    /// caller's that it is handed on with.
    pub(super) fn answers<Q, A, F>(
        &self,
        request: Request<Streaming<Q>>,
        answer: impl Fn(Q, Caller) -> F + Send + 'static,
    ) -> Answers<A>
    where
        Q: Send + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let caller = caller(&request);
        let messages = Messages {
            from: request.into_inner(),
            lifecycle: self.lifecycle.clone(),
            held: Arc::clone(&caller.held),
            rest: self.service.settings().keep_alive,
            work: Arc::default(),
        };
        let room = self.service.room().clone();
        let answers = messages.stream().map(move |message| {
            let one = message.map(|(message, work)| {
                let held = Arc::new(room.start());
                let caller = Caller {
                    held: Arc::clone(&held),
                    ..caller.clone()
                };
                (answer(message, caller), held, work)
            });
            async move {
                let (answer, held, work) = one?;
                let answer = answer.await?;
                held.shrink_to(answer.encoded_len());
                Ok((answer, held, work))
            }
        });
        // From here on it is counted as it is sent.
        let answers = answers.buffered(STREAM_REQUESTS);
        Box::pin(answers.map(|answer| answer.map(|(answer, _held, _work)| answer)))
    }

    /// One request of a bulk call: waits for its place in the queue instead of being refused, and as
    /// long as one request may take for room.
    pub(super) async fn patiently<A, F>(
        &self,
        held: &Reserved,
        ask: impl Fn() -> F,
    ) -> Result<A, ServiceError>
    where
        F: Future<Output = Result<A, ServiceError>>,
    {
        loop {
            match ask().await {
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
                answer => return answer,
            }
        }
    }

    pub(super) async fn embed(
        &self,
        request: EmbedRequest,
        held: &Reserved,
    ) -> Result<EmbedAnswer, ServiceError> {
        let embed = || {
            self.service
                .embed_within(request.clone(), held, MostInputs::Setting)
        };
        self.patiently(held, embed).await
    }

    pub(super) async fn rerank(
        &self,
        request: RerankRequest,
        held: &Reserved,
    ) -> Result<RerankAnswer, ServiceError> {
        let rerank = || self.service.rerank_within(request.clone(), held);
        self.patiently(held, rerank).await
    }

    /// The messages of a call that is answered when all are there.
    pub(super) fn messages<Q: Send + 'static>(
        &self,
        from: Streaming<Q>,
        held: &Arc<Reserved>,
    ) -> impl Stream<Item = Result<Q, Status>> + use<Q> {
        let messages = Messages {
            from,
            lifecycle: self.lifecycle.clone(),
            held: Arc::clone(held),
            rest: self.service.settings().keep_alive,
            work: Arc::default(),
        };
        let messages = messages.stream();
        messages.map(|message| message.map(|(message, _)| message))
    }
}

/// Who calls.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_default()
}

/// The messages of a bulk call.
struct Messages<Q> {
    from: Streaming<Q>,
    lifecycle: Lifecycle,
    /// What the call holds as long as it lasts.
    held: Arc<Reserved>,
    /// How long it may rest with it.
    rest: Duration,
    /// Each message that has no answer yet has one of these.
    work: Arc<()>,
}

impl<Q: Send + 'static> Messages<Q> {
    /// Until the client has no more, one is broken, the call rests for too long or the server closes.
    fn stream(self) -> impl Stream<Item = Result<(Q, Arc<()>), Status>> {
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

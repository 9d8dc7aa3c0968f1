//! Documents for a query, the best first: one state a pair, through the same queue as texts.

use std::sync::Arc;
use std::time::Instant;

use metrics::counter;

use akidb_embedding::{
    EmbedError, Input, PairQuery, Provenance, RerankOptions, Reranker, Score, Scoring,
};
use akidb_schedule::Class;

use super::models::Model;
use super::request::{EmbedRequest, Timing};
use super::tokenize::Untokenized;
use super::turns::Turn;
use super::{
    BYTES_PER_VALUE, EmbeddingService, MAX_PROMPT_BYTES, MostInputs, Order, ServiceError, hold,
};
use crate::room::{RETRY_AFTER, Reserved};

/// Longer queries are made ready in a thread of their own.
const INLINE_BYTES: usize = 4 << 10;

/// Documents to rank, and for whom.
#[derive(Debug, Clone)]
pub struct RerankRequest {
    /// The model's name; without one, the default model.
    pub model: Option<String>,
    /// What the documents should answer.
    pub query: String,
    /// The documents.
    pub documents: Vec<String>,
    /// How they are scored.
    pub options: RerankOptions,
    /// Whether the answer has the documents, too.
    pub keep_documents: bool,
    /// How urgent it is.
    pub class: Class,
    /// Who asks, so that clients of one class get equal shares: an API key's name or an address.
    pub client: Arc<str>,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

/// The scores of a request.
#[derive(Debug, Clone)]
pub struct RerankAnswer {
    /// The best first.
    pub scores: Vec<Score>,
    /// The documents, in the order of the request; none where they were not to be kept.
    pub documents: Vec<String>,
    /// Tokens of all pairs; with cosine, of the query and of all documents.
    pub total_tokens: usize,
    /// Where the scores come from.
    pub provenance: Arc<Provenance>,
    /// What took how long.
    pub timing: Timing,
}

impl EmbeddingService {
    /// Scores a request's documents.
    ///
    /// When the future is dropped, what nobody else waits for isn't computed.
    ///
    /// # Errors
    /// As [`Self::embed`], and when the model can't score as is asked for or the query leaves no room
    /// for a document.
    pub async fn rerank(&self, request: RerankRequest) -> Result<RerankAnswer, ServiceError> {
        let held = self.room().start();
        self.rerank_within(request, &held).await
    }

    /// As [`Self::rerank`], for a request of which `held` counts what is held already, and from now on
    /// what it and its answer take.
    pub(crate) async fn rerank_within(
        &self,
        request: RerankRequest,
        held: &Reserved,
    ) -> Result<RerankAnswer, ServiceError> {
        self.in_time(request.deadline, |start, deadline| {
            self.ranked(request, held, start, deadline)
        })
        .await
    }

    async fn ranked(
        &self,
        mut request: RerankRequest,
        held: &Reserved,
        start: Instant,
        deadline: Option<Instant>,
    ) -> Result<RerankAnswer, ServiceError> {
        self.check_inputs(request.documents.len())?;
        let texts = request.documents.iter().map(String::len).sum::<usize>();
        let texts = texts.saturating_add(request.query.len());
        // Once for the answer, once for what is tokenized.
        let copies = 1 + usize::from(request.keep_documents);
        hold(held, texts.saturating_mul(copies), RETRY_AFTER)?;
        let kept = match request.keep_documents {
            true => request.documents.clone(),
            false => Vec::new(),
        };
        let model = self.models.get(request.model.as_deref()).await?;
        counter!("akidb_reranked_documents_total", "model" => Arc::clone(&model.name))
            .increment(request.documents.len() as u64);
        let reranker = Reranker::from(Arc::clone(&model.embedder));
        let options = request.options.clone();
        let top_n = options.top_n;
        request.deadline = deadline;
        let answer = match reranker.scoring(&options)? {
            Scoring::Cosine => self.by_cosine(request, &reranker, held, start).await?,
            Scoring::Model => {
                let already = texts.saturating_mul(copies);
                self.by_model(request, reranker, &model, (held, already), start)
                    .await?
            }
        };
        let mut answer = RerankAnswer {
            documents: kept,
            ..answer
        };
        Score::rank(&mut answer.scores, top_n);
        Ok(answer)
    }

    async fn by_cosine(
        &self,
        request: RerankRequest,
        reranker: &Reranker,
        held: &Reserved,
        start: Instant,
    ) -> Result<RerankAnswer, ServiceError> {
        let options = &request.options;
        let provenance = Arc::new(reranker.provenance(options)?);
        let embed = |inputs, options| EmbedRequest {
            model: request.model.clone(),
            inputs,
            options,
            class: request.class,
            client: Arc::clone(&request.client),
            deadline: request.deadline,
        };
        let (query, deadline) = (request.query, request.deadline);
        let most = MostInputs::Setting;
        let of_query = embed(vec![query.into()], reranker.query_options(options));
        let of_query = self.answer(of_query, held, most, start, deadline).await?;
        let documents: Vec<Input<'static>> =
            request.documents.into_iter().map(Input::from).collect();
        if documents.is_empty() {
            return Ok(RerankAnswer {
                scores: Vec::new(),
                documents: Vec::new(),
                total_tokens: of_query.total_tokens,
                provenance,
                timing: of_query.timing,
            });
        }
        let found = embed(documents, reranker.document_options(options));
        let found = self.answer(found, held, most, start, deadline).await?;
        let query = of_query.embeddings.first();
        let query = query.and_then(|query| query.values.as_f32());
        Ok(RerankAnswer {
            scores: Score::cosines(query.unwrap_or_default(), &found.embeddings),
            documents: Vec::new(),
            total_tokens: of_query.total_tokens + found.total_tokens,
            provenance,
            timing: found.timing,
        })
    }

    async fn by_model(
        &self,
        request: RerankRequest,
        reranker: Reranker,
        model: &Model,
        (held, already): (&Reserved, usize),
        start: Instant,
    ) -> Result<RerankAnswer, ServiceError> {
        let RerankRequest {
            query,
            documents,
            options,
            class,
            client,
            deadline,
            ..
        } = request;
        let provenance = Arc::new(reranker.provenance(&options)?);
        let (wait, max_wait) = self.wait(class, &client)?;
        let query = self.query(&reranker, query, options, &client).await?;
        let shared = query.shared_text().len();
        if shared > MAX_PROMPT_BYTES {
            return Err(ServiceError::PromptTooLong {
                bytes: shared,
                most: MAX_PROMPT_BYTES,
            });
        }
        let state = model.embedder.dimension().saturating_mul(BYTES_PER_VALUE);
        let states = documents.len().saturating_mul(state);
        let texts = documents
            .iter()
            .map(|text| text.len().saturating_add(shared));
        let texts = texts.fold(0, usize::saturating_add);
        let needed = already.max(texts).saturating_add(states);
        let most = self.settings.max_queue_bytes;
        if needed > most {
            return Err(ServiceError::TooMuch {
                what: "bytes of pairs, each with the query",
                has: needed,
                most,
            });
        }
        hold(held, needed, wait)?;

        let group: Arc<str> = query.shared_text().into();
        let work = Untokenized::Pairs {
            reranker: reranker.clone(),
            query,
            documents,
        };
        let pairs = self.tokenizing.run_all(work, texts, &client, held).await?;
        let order = Order {
            group,
            class,
            client,
            max_wait,
            deadline,
        };
        let computed = self.compute(model, pairs, order).await?;
        let scored = computed.texts().enumerate();
        let scores = scored.map(|(index, (tokens, truncated, state))| {
            reranker.score(index, state, tokens, truncated)
        });
        Ok(RerankAnswer {
            scores: scores.collect::<Result<_, EmbedError>>()?,
            documents: Vec::new(),
            total_tokens: computed.total_tokens(),
            provenance,
            timing: computed.timing(start),
        })
    }

    /// Makes a query ready, a long one where nobody else waits.
    async fn query(
        &self,
        reranker: &Reranker,
        query: String,
        options: RerankOptions,
        client: &Arc<str>,
    ) -> Result<PairQuery, ServiceError> {
        if query.len() <= INLINE_BYTES {
            return Ok(reranker.query(&query, &options)?);
        }
        let reranker = reranker.clone();
        let work = move |_: &Turn| reranker.query(&query, &options);
        Ok(self.tokenizing.elsewhere(client, work).await??)
    }
}

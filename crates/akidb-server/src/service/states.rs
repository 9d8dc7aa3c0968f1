//! The state of each token, instead of one vector a text.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Embedding, Input, Tokens, Values};

use super::EmbeddingService;
use super::error::ServiceError;
use super::request::{EmbedAnswer, Timing};
use crate::caller::Caller;

/// A request's texts have no more tokens: each has a vector in the answer, of 11 KB of JSON where it is
/// 1024 wide.
const MAX_STATES: usize = 4096;

/// What a value takes until it is answered: as a number and as JSON.
const BYTES_PER_VALUE: usize = size_of::<f32>() + 16;

/// Such requests are not queued with the others, but run one at a time beside them.
static ONE: Semaphore = Semaphore::const_new(1);

/// For each text, `width` numbers a token.
#[derive(Debug)]
pub(crate) struct States {
    pub(crate) texts: Vec<Vec<f32>>,
    pub(crate) width: usize,
}

impl EmbeddingService {
    /// The hidden state of each token, special tokens included, neither pooled nor scaled, and an
    /// answer without vectors that tells of the texts.
    ///
    /// # Errors
    /// As [`Self::embed`], and when the backend gives only one state a text.
    pub(crate) async fn states(
        &self,
        model: Option<&str>,
        inputs: Vec<Input<'static>>,
        options: EmbedOptions,
        caller: &Caller,
    ) -> Result<(States, EmbedAnswer), ServiceError> {
        let start = Instant::now();
        self.check_inputs(inputs.len())?;
        let tokens = self.tokens(model, &caller.client, inputs, &options, &caller.held);
        let tokens = tokens.await?;
        let total = tokens.iter().map(|t| t.ids.len()).sum();
        if total > MAX_STATES {
            return Err(ServiceError::TooMuch {
                what: "tokens",
                has: total,
                most: MAX_STATES,
            });
        }
        let tokenize = start.elapsed();
        let turn = tokio::time::timeout(self.settings.request_timeout, ONE.acquire());
        let turn = turn.await.map_err(|_| ServiceError::DeadlineExceeded)?;
        let turn = turn.map_err(|_| ServiceError::Stopped)?;
        let queue = start.elapsed() - tokenize;
        let values = total.saturating_mul(self.model_facts(model).await?.dimension);
        caller.reserve(values.saturating_mul(BYTES_PER_VALUE))?;
        let (states, mut answer) = self
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
        Ok((states, answer))
    }
}

fn run(
    embedder: &Embedder,
    tokens: &[Tokens],
    options: &EmbedOptions,
) -> Result<(States, EmbedAnswer), EmbedError> {
    embedder.check_embeds()?;
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

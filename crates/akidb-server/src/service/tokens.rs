//! What is done with a model's tokenizer alone, past its queue.

use std::sync::Arc;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Input, Tokens};

use super::turns::Turn;
use super::{EmbeddingService, Pieces, ServiceError};
use crate::caller::Caller;
use crate::room::Reserved;

/// Texts whose tokens are told one by one have no more bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// No more ids are decoded at a time.
const MAX_IDS: usize = 1 << 17;

/// What an id takes until it is answered: it can stand for some hundred bytes, which its JSON repeats.
const BYTES_PER_ID: usize = 512;

impl EmbeddingService {
    /// The tokens of texts one by one, by a model or the default one.
    ///
    /// # Errors
    /// When there is no such model, or it doesn't load.
    pub(crate) async fn pieces(
        &self,
        model: Option<&str>,
        client: &Arc<str>,
        texts: Vec<String>,
        special_tokens: bool,
        options: EmbedOptions,
    ) -> Result<Pieces, ServiceError> {
        let bytes = texts.iter().map(String::len).sum();
        if bytes > MAX_TEXT_BYTES {
            return Err(ServiceError::TooMuch {
                what: "bytes of text",
                has: bytes,
                most: MAX_TEXT_BYTES,
            });
        }
        let model = self.models.get(model).await?;
        Ok(Pieces::new(
            self.tokenizing.clone(),
            Arc::clone(client),
            Arc::clone(&model.embedder),
            texts,
            special_tokens,
            options,
        ))
    }

    /// The tokens that a model, or the default one, sees of each input; `held` counts them.
    ///
    /// # Errors
    /// When there is no such model, it doesn't load, an input can't be tokenized, or there is no room.
    pub(crate) async fn tokens(
        &self,
        model: Option<&str>,
        client: &Arc<str>,
        inputs: Vec<Input<'static>>,
        options: &EmbedOptions,
        held: &Reserved,
    ) -> Result<Vec<Tokens>, ServiceError> {
        let model = self.models.get(model).await?;
        let embedder = &model.embedder;
        let prompt = embedder.provenance(options)?.instruction.len();
        let tokens = self
            .tokenizing
            .run(embedder, inputs, options, prompt, client, held);
        tokens.await
    }

    /// The texts that lists of token ids stand for.
    ///
    /// # Errors
    /// When there are too many, there is no such model, it doesn't load, or the tokenizer fails.
    pub(crate) async fn decode(
        &self,
        model: Option<&str>,
        caller: &Caller,
        lists: Vec<Vec<u32>>,
        skip_special: bool,
    ) -> Result<Vec<String>, ServiceError> {
        self.check_inputs(lists.len())?;
        let ids = lists.iter().map(Vec::len).sum();
        if ids > MAX_IDS {
            return Err(ServiceError::TooMuch {
                what: "ids",
                has: ids,
                most: MAX_IDS,
            });
        }
        caller.reserve(ids.saturating_mul(BYTES_PER_ID))?;
        let model = self.models.get(model).await?;
        let decode = move |_: &Turn| -> Result<Vec<String>, EmbedError> {
            let decode = |ids: &Vec<u32>| model.embedder.decode(ids, skip_special);
            lists.iter().map(decode).collect()
        };
        Ok(self.tokenizing.elsewhere(&caller.client, decode).await??)
    }

    /// Calls with a model, or the default one, where nobody waits for the thread.
    ///
    /// # Errors
    /// When there is no such model, it doesn't load, or the call fails.
    pub(crate) async fn with_embedder<T: Send + 'static>(
        &self,
        model: Option<&str>,
        call: impl FnOnce(&Embedder) -> Result<T, EmbedError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let model = self.models.get(model).await?;
        let called = tokio::task::spawn_blocking(move || call(&model.embedder));
        Ok(called.await.map_err(|_| ServiceError::Stopped)??)
    }
}

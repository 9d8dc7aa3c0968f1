//! What is done with a model's tokenizer alone, past its queue.

use std::sync::Arc;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Input, Tokens};

use super::{EmbeddingService, Pieces, ServiceError};
use crate::room::Reserved;

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

    /// Calls with a model, or the default one, when it is the client's turn to tokenize.
    ///
    /// # Errors
    /// When there is no such model, it doesn't load, or the call fails.
    pub(crate) async fn with_tokenizer<T: Send + 'static>(
        &self,
        model: Option<&str>,
        client: &Arc<str>,
        call: impl FnOnce(&Embedder) -> Result<T, EmbedError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let model = self.models.get(model).await?;
        let called = self
            .tokenizing
            .elsewhere(client, move |_| call(&model.embedder));
        Ok(called.await??)
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

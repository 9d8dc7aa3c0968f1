//! What is done with a model's tokenizer alone, past its queue.

use std::sync::Arc;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Piece};

use super::{EmbeddingService, ServiceError};

impl EmbeddingService {
    /// The tokens of texts one by one, by a model or the default one.
    ///
    /// # Errors
    /// When there is no such model, it doesn't load, or the tokenizer fails.
    pub(crate) async fn pieces(
        &self,
        model: Option<&str>,
        client: &Arc<str>,
        texts: Vec<String>,
        special_tokens: bool,
        options: EmbedOptions,
    ) -> Result<Vec<Vec<Piece>>, ServiceError> {
        let model = self.models.get(model).await?;
        self.tokenizing
            .pieces(&model.embedder, texts, special_tokens, options, client)
            .await
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

//! What is done with a model's tokenizer alone, past its queue.

use akidb_embedding::{EmbedError, Embedder};

use super::{EmbeddingService, ServiceError};

impl EmbeddingService {
    /// Calls with a model, or the default one, in one of the threads that tokenize.
    ///
    /// # Errors
    /// When there is no such model, it doesn't load, or the call fails.
    pub(crate) async fn with_tokenizer<T: Send + 'static>(
        &self,
        model: Option<&str>,
        call: impl FnOnce(&Embedder) -> Result<T, EmbedError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let model = self.models.get(model).await?;
        let call = move || call(&model.embedder);
        Ok(self.tokenizing.elsewhere(call).await??)
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

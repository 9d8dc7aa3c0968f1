//! What every interface calls: texts in, vectors out, whoever asks and in whatever words.

mod error;
mod models;
mod request;
mod schedule;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

pub use error::ServiceError;
pub use models::ModelFacts;
pub use request::{Class, EmbedAnswer, EmbedRequest, Timing};

use akidb_embedding::{Embedding, Tokens};

use crate::settings::Settings;
use models::Models;
use schedule::Work;

/// The models, their queues and their limits.
#[derive(Debug)]
pub struct EmbeddingService {
    settings: Settings,
    models: Models,
}

impl EmbeddingService {
    /// A service for the models that the settings name; a model is loaded when it is first asked
    /// for.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(settings: Settings) -> Result<Self, ServiceError> {
        let models = Models::new(&settings)?;
        Ok(Self { settings, models })
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The names of the models, the default one first.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.names()
    }

    /// What is known of a model, or of the default one; loads it.
    ///
    /// # Errors
    /// When there is no such model, or it doesn't load.
    pub async fn model_facts(&self, model: Option<&str>) -> Result<ModelFacts, ServiceError> {
        Ok(self.models.get(model).await?.facts())
    }

    /// Embeds a request's texts.
    ///
    /// # Errors
    /// When the request can't be fulfilled as it is, the server has too much to do or stops, or the
    /// model fails. One text that can't be embedded fails its request, and the error names it.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedAnswer, ServiceError> {
        let start = Instant::now();
        let most = self.settings.max_client_batch_size;
        if request.inputs.len() > most {
            return Err(ServiceError::TooManyInputs {
                inputs: request.inputs.len(),
                most,
            });
        }
        let model = self.models.get(request.model.as_deref()).await?;
        let EmbedRequest {
            inputs, options, ..
        } = request;
        let provenance = Arc::new(model.embedder.provenance(&options)?);

        // Tokenizing a long request takes milliseconds: not on a thread that serves connections.
        let embedder = Arc::clone(&model.embedder);
        let tokenize = options.clone();
        let texts: Vec<Tokens> = tokio::task::spawn_blocking(move || {
            let texts = embedder.tokenize(&inputs, &tokenize)?;
            texts.into_iter().collect::<Result<_, _>>()
        })
        .await
        .map_err(|_| ServiceError::Stopped)??;
        let tokenized = Instant::now();

        let seen: Vec<(usize, bool)> = texts.iter().map(|t| (t.ids.len(), t.truncated)).collect();
        let done = model
            .queue
            .run(Work {
                texts: texts.into_iter().map(|t| t.ids).collect(),
                instruction: provenance.instruction.clone(),
            })
            .await?;
        let embeddings = seen
            .iter()
            .zip(&done.states)
            .enumerate()
            .map(|(index, (&(tokens, truncated), state))| {
                let values = model
                    .embedder
                    .finish(state, &options)
                    .map_err(|error| error.counted_from(index))?;
                Ok(Embedding {
                    values,
                    tokens,
                    truncated,
                })
            })
            .collect::<Result<_, ServiceError>>()?;
        Ok(EmbedAnswer {
            embeddings,
            total_tokens: seen.iter().map(|(tokens, _)| tokens).sum(),
            provenance,
            timing: Timing {
                tokenize: tokenized - start,
                queue: done.started.saturating_duration_since(tokenized),
                compute: done.started.elapsed(),
            },
        })
    }
}

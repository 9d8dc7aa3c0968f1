//! The models by name: loaded when first asked for.

use std::sync::Arc;

use tokio::sync::OnceCell;

use akidb_embedding::Embedder;

use super::error::ServiceError;
use super::schedule::Queue;
use crate::settings::{ModelSettings, Settings};

/// What is known of a loaded model.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// The name by which requests ask for it.
    pub name: String,
    /// Width of its vectors.
    pub dimension: usize,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Where vectors of default options come from.
    pub provenance: akidb_embedding::Provenance,
}

/// A model that is ready.
#[derive(Debug)]
pub(crate) struct Model {
    facts: ModelFacts,
    pub(crate) embedder: Arc<Embedder>,
    pub(crate) queue: Queue,
}

impl Model {
    pub(crate) fn facts(&self) -> ModelFacts {
        self.facts.clone()
    }
}

#[derive(Debug)]
struct Slot {
    settings: ModelSettings,
    model: OnceCell<Arc<Model>>,
}

#[derive(Debug)]
pub(crate) struct Models {
    slots: Vec<Slot>,
    max_batch_tokens: usize,
}

impl Models {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ServiceError> {
        if settings.models.is_empty() {
            return Err(ServiceError::Settings("no model is named".to_owned()));
        }
        let slots = settings.models.iter().map(|model| Slot {
            settings: model.clone(),
            model: OnceCell::new(),
        });
        Ok(Self {
            slots: slots.collect(),
            max_batch_tokens: settings.max_batch_tokens,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.settings.name.as_str())
    }

    pub(crate) async fn get(&self, name: Option<&str>) -> Result<Arc<Model>, ServiceError> {
        let mut slots = self.slots.iter();
        let slot = slots.find(|slot| name.is_none_or(|name| slot.settings.name == name));
        let slot = slot.ok_or_else(|| ServiceError::ModelNotFound {
            model: name.unwrap_or_default().to_owned(),
            known: self.names().map(str::to_owned).collect(),
        })?;
        let model = slot.model.get_or_try_init(|| self.load(&slot.settings));
        Ok(Arc::clone(model.await?))
    }

    async fn load(&self, settings: &ModelSettings) -> Result<Arc<Model>, ServiceError> {
        let ModelSettings { name, builder } = settings.clone();
        let failed = |source| ServiceError::Load {
            model: settings.name.clone(),
            source: Arc::new(source),
        };
        let embedder = tokio::task::spawn_blocking(move || builder.build())
            .await
            .map_err(|_| ServiceError::Stopped)?
            .map_err(failed)?;
        let embedder = Arc::new(embedder);
        Ok(Arc::new(Model {
            facts: ModelFacts {
                name,
                dimension: embedder.dimension(),
                max_tokens: embedder.max_tokens(),
                provenance: embedder.provenance(&Default::default())?,
            },
            queue: Queue::start(Arc::clone(&embedder), self.max_batch_tokens)?,
            embedder,
        }))
    }
}

//! The models by name: loaded when first asked for, put away when others need their memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;

use akidb_embedding::{EmbedError, Embedder, ModelDescription, RerankOptions, Reranker, Scoring};
use akidb_schedule::{EngineId, Scheduler, Speed};

use super::error::ServiceError;
use crate::settings::{ModelSettings, Settings};

/// A model that didn't load isn't tried again for so long.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// When there is room for a model again that none can be put away for, nobody knows.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of a loaded model.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// The name by which requests ask for it.
    pub name: String,
    /// Width of its vectors.
    pub dimension: usize,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Whether it makes vectors: a reranker doesn't.
    pub embeds: bool,
    /// How it scores documents for a query, where a request doesn't say.
    pub scoring: Scoring,
    /// Where vectors of default options come from.
    pub provenance: akidb_embedding::Provenance,
}

/// What is known of a model whether it is loaded or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// The name by which requests ask for it.
    pub name: String,
    /// Whether it is ready.
    pub loaded: bool,
    /// What its files say.
    pub description: ModelDescription,
}

/// A model that is ready.
#[derive(Debug)]
pub(crate) struct Model {
    facts: ModelFacts,
    pub(crate) name: Arc<str>,
    pub(crate) embedder: Arc<Embedder>,
    /// Its number in the queue.
    pub(crate) id: EngineId,
}

impl Model {
    pub(crate) fn facts(&self) -> ModelFacts {
        self.facts.clone()
    }
}

#[derive(Debug)]
struct Slot {
    settings: ModelSettings,
    description: ModelDescription,
}

/// Whether a model is loaded.
#[derive(Debug, Default)]
struct LoadState {
    /// Requests that use it hold it, too.
    model: Option<Arc<Model>>,
    /// When it was asked for last: larger is later.
    used: u64,
    failure: Option<(Instant, ServiceError)>,
}

#[derive(Debug, Default)]
struct Places {
    /// One for each slot.
    places: Vec<LoadState>,
    uses: u64,
}

#[derive(Debug)]
pub(crate) struct Models {
    slots: Vec<Slot>,
    places: Mutex<Places>,
    /// Held while one is loaded: one at a time.
    loading: tokio::sync::Mutex<()>,
    memory: Option<u64>,
    scheduler: Arc<Scheduler<Embedder>>,
}

impl Models {
    pub(crate) fn new(
        settings: &Settings,
        scheduler: Arc<Scheduler<Embedder>>,
    ) -> Result<Self, ServiceError> {
        let mut slots = Vec::with_capacity(settings.models.len());
        for model in &settings.models {
            let description = model.builder.describe();
            let description = description.map_err(|error| failed(model, error))?;
            if let Some(memory) = settings.model_memory
                && description.weights_bytes > memory
            {
                return Err(ServiceError::Settings(format!(
                    "model_memory is {memory} bytes, but the weights of {} have {}",
                    model.name, description.weights_bytes
                )));
            }
            slots.push(Slot {
                settings: model.clone(),
                description,
            });
        }
        let places = slots.iter().map(|_| LoadState::default()).collect();
        Ok(Self {
            slots,
            places: Mutex::new(Places { places, uses: 0 }),
            loading: tokio::sync::Mutex::new(()),
            memory: settings.model_memory,
            scheduler,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.settings.name.as_str())
    }

    pub(crate) fn status(&self) -> Vec<ModelStatus> {
        let places = self.places();
        let slots = self.slots.iter().zip(&places.places);
        let status = slots.map(|(slot, place)| ModelStatus {
            name: slot.settings.name.clone(),
            loaded: place.model.is_some(),
            description: slot.description.clone(),
        });
        status.collect()
    }

    /// The model of that name, or the default one; loaded where it isn't. It stays while it is held.
    pub(crate) async fn get(
        self: &Arc<Self>,
        name: Option<&str>,
    ) -> Result<Arc<Model>, ServiceError> {
        let mut names = self.names();
        let index = names.position(|known| name.is_none_or(|name| known == name));
        let index = index.ok_or_else(|| ServiceError::ModelNotFound {
            model: name.unwrap_or_default().to_owned(),
            known: self.names().map(str::to_owned).collect(),
        })?;
        if let Some(model) = self.places().get(index) {
            return Ok(model);
        }
        // In a task of its own: it goes on when the caller goes, others wait for it.
        let models = Arc::clone(self);
        tokio::spawn(async move { models.load(index).await })
            .await
            .map_err(|_| ServiceError::Stopped)?
    }

    async fn load(&self, index: usize) -> Result<Arc<Model>, ServiceError> {
        let slot = self.slots.get(index).ok_or(ServiceError::Stopped)?;
        let _one = self.loading.lock().await;
        let unused = {
            let mut places = self.places();
            if let Some(model) = places.get(index) {
                return Ok(model);
            }
            places.failure(index)?;
            self.make_room(&mut places, slot.description.weights_bytes)?
        };
        let loaded = self.build(slot, unused).await;
        let mut places = self.places();
        places.uses += 1;
        let uses = places.uses;
        let Some(place) = places.places.get_mut(index) else {
            return Err(ServiceError::Stopped);
        };
        match &loaded {
            Ok(model) => {
                place.model = Some(Arc::clone(model));
                place.used = uses;
            }
            Err(error) => place.failure = Some((Instant::now(), error.clone())),
        }
        self.tell(&places);
        loaded
    }

    /// Puts into the metrics which models are loaded.
    fn tell(&self, places: &Places) {
        let mut count = 0;
        for (slot, place) in self.slots.iter().zip(&places.places) {
            let bytes = match place.model {
                Some(_) => slot.description.weights_bytes,
                None => 0,
            };
            let name = slot.settings.name.clone();
            gauge!("akidb_model_bytes", "model" => name).set(bytes as f64);
            count += u32::from(place.model.is_some());
        }
        gauge!("akidb_models_loaded").set(count);
    }

    /// Takes models away until so many bytes fit: who wasn't used for longest first.
    fn make_room(&self, places: &mut Places, bytes: u64) -> Result<Vec<Arc<Model>>, ServiceError> {
        let Some(memory) = self.memory else {
            return Ok(Vec::new());
        };
        let size = |index: usize| {
            let slot = self.slots.get(index);
            slot.map_or(0, |slot| slot.description.weights_bytes)
        };
        let mut taken = bytes;
        let mut unused = Vec::new();
        for (index, place) in places.places.iter().enumerate() {
            let Some(model) = &place.model else {
                continue;
            };
            taken = taken.saturating_add(size(index));
            // Who uses it holds it.
            if Arc::strong_count(model) == 1 {
                unused.push((place.used, index));
            }
        }
        unused.sort_unstable();
        let mut away = Vec::new();
        for (_, index) in unused {
            if taken <= memory {
                break;
            }
            taken = taken.saturating_sub(size(index));
            away.push(index);
        }
        if taken > memory {
            return Err(ServiceError::Overloaded {
                retry_after: RETRY_AFTER,
            });
        }
        let mut models = Vec::with_capacity(away.len());
        for index in away {
            let place = places.places.get_mut(index);
            if let Some(model) = place.and_then(|place| place.model.take()) {
                tracing::info!(model = %model.name, "put away: another model needs its memory");
                self.scheduler.remove_engine(model.id);
                models.push(model);
            }
        }
        Ok(models)
    }

    async fn build(
        &self,
        slot: &Slot,
        unused: Vec<Arc<Model>>,
    ) -> Result<Arc<Model>, ServiceError> {
        let builder = slot.settings.builder.clone();
        let scheduler = Arc::clone(&self.scheduler);
        let load = move || -> Result<(Embedder, Speed), EmbedError> {
            drop(unused);
            let embedder = builder.build()?;
            let speed = embedder.warm_up(&scheduler)?;
            Ok((embedder, speed))
        };
        let start = Instant::now();
        let (embedder, speed) = tokio::task::spawn_blocking(load)
            .await
            .map_err(|_| ServiceError::Stopped)?
            .map_err(|error| failed(&slot.settings, error))?;
        let embedder = Arc::new(embedder);
        let facts = ModelFacts {
            name: slot.settings.name.clone(),
            dimension: embedder.dimension(),
            max_tokens: embedder.max_tokens(),
            embeds: embedder.check_embeds().is_ok(),
            scoring: Reranker::from(Arc::clone(&embedder)).scoring(&RerankOptions::default())?,
            provenance: embedder.provenance(&Default::default())?,
        };
        tracing::info!(
            model = facts.name,
            backend = facts.provenance.backend,
            precision = facts.provenance.precision,
            seconds = start.elapsed().as_secs_f64(),
            "loaded"
        );
        let name: Arc<str> = facts.name.as_str().into();
        let engine = Arc::clone(&embedder);
        Ok(Arc::new(Model {
            facts,
            id: self.scheduler.add_engine(Arc::clone(&name), engine, speed),
            name,
            embedder,
        }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn get(&mut self, index: usize) -> Option<Arc<Model>> {
        let place = self.places.get_mut(index)?;
        let model = place.model.as_ref()?;
        self.uses += 1;
        place.used = self.uses;
        Some(Arc::clone(model))
    }

    /// The error with which the model failed a short time ago.
    fn failure(&self, index: usize) -> Result<(), ServiceError> {
        let failure = self.places.get(index).and_then(|p| p.failure.as_ref());
        match failure {
            Some((at, error)) if at.elapsed() < FAILURE_KEPT => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

fn failed(model: &ModelSettings, source: EmbedError) -> ServiceError {
    ServiceError::Load {
        model: model.name.clone(),
        source: Arc::new(source),
    }
}

//! `GET /info`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::TeiError;
use crate::http::answer::Origin;
use crate::http::capabilities::Capabilities;
use crate::problem::Problem;
use crate::server::CONNECTION_BYTES;
use crate::service::EmbeddingService;
use crate::settings::Settings;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Which model (not TEI's); without it, the server's first.
    model: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiInfo)]
pub(crate) struct Info {
    /// The model's id.
    model_id: String,
    /// The name by which requests ask for it.
    served_model_name: String,
    /// Revision of its files, where known.
    model_sha: Option<String>,
    /// Arithmetic of its linear layers.
    model_dtype: String,
    model_type: ModelType,
    /// Most connections at a time; more wait.
    max_concurrent_requests: usize,
    /// Longest text in tokens, special tokens included.
    max_input_length: usize,
    /// Most tokens of one pass of the model.
    max_batch_tokens: usize,
    /// Passes are bounded by tokens alone.
    max_batch_requests: Option<usize>,
    /// Most inputs of one request.
    max_client_batch_size: usize,
    /// Whether texts that are too long are cut where the request doesn't say.
    auto_truncate: bool,
    /// Threads that turn texts into tokens.
    tokenization_workers: usize,
    /// The server's version.
    version: &'static str,
    /// Not known here.
    sha: Option<&'static str>,
    /// Not known here.
    docker_label: Option<&'static str>,
    /// Width of the model's vectors; a reranker makes none.
    dimension: Option<usize>,
    capabilities: Capabilities,
    /// The names of all models, the default one first.
    models: Vec<String>,
    /// What each of them can do, by its name.
    model_capabilities: BTreeMap<String, Capabilities>,
    /// Where vectors of default options come from.
    provenance: Origin,
    limits: Limits,
}

/// What else bounds requests (not TEI's).
#[derive(Debug, Serialize, ToSchema)]
struct Limits {
    /// Most bytes of a request's body.
    max_body_bytes: usize,
    /// Requests of more inputs are bulk work unless they say otherwise.
    interactive_inputs: usize,
    /// Longest expected wait in the queue, in seconds: who would wait longer is refused.
    max_wait: f64,
    /// How long a request may take, in seconds.
    request_timeout: f64,
    /// How long a pass of several texts should take, in seconds.
    max_pass_time: f64,
    /// Most bytes held for all clients' requests, from their first byte to their answers' last.
    max_queue_bytes: usize,
    /// That, and what `max_concurrent_requests` connections take at most: with models and cache, what
    /// the server can need.
    max_client_bytes: usize,
    /// Bytes for vectors of texts that may come again.
    result_cache_bytes: usize,
    /// Most bytes of the weights that are loaded at a time.
    model_memory: Option<u64>,
}

impl Limits {
    fn new(settings: &Settings) -> Self {
        Self {
            max_body_bytes: settings.max_body_bytes,
            interactive_inputs: settings.interactive_inputs,
            max_wait: settings.max_wait.as_secs_f64(),
            request_timeout: settings.request_timeout.as_secs_f64(),
            max_pass_time: settings.max_pass_time.as_secs_f64(),
            max_queue_bytes: settings.max_queue_bytes,
            max_client_bytes: settings
                .max_connections
                .saturating_mul(CONNECTION_BYTES)
                .saturating_add(settings.max_queue_bytes),
            result_cache_bytes: settings.result_cache_bytes,
            model_memory: settings.model_memory,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiModelType)]
#[serde(rename_all = "lowercase")]
enum ModelType {
    Embedding(EmbeddingModel),
    Reranker(ClassifierModel),
}

/// A reranker has one label.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiClassifierModel)]
struct ClassifierModel {
    /// The label of each logit.
    id2label: BTreeMap<&'static str, &'static str>,
    /// The logit of each label.
    label2id: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiEmbeddingModel)]
struct EmbeddingModel {
    /// How tokens become one vector.
    pooling: String,
}

/// Facts about a model and the server's limits; loads the model.
#[utoipa::path(
    get,
    path = "/info",
    tag = "Text Embeddings Inference",
    params(Which),
    responses(
        (status = 200, description = "The facts", body = Info),
        (status = 404, description = "There is no such model", body = TeiError),
        (status = 424, description = "The model can't be loaded", body = TeiError),
    )
)]
pub(crate) async fn info(
    State(service): State<Arc<EmbeddingService>>,
    Query(which): Query<Which>,
) -> Result<Json<Info>, Problem> {
    let facts = service.model_facts(which.model.as_deref()).await?;
    let settings = service.settings();
    let capabilities = Capabilities::from(&facts);
    let models = service.models();
    let each = models
        .iter()
        .map(|model| (model.name.clone(), model.into()));
    let model_capabilities = each.collect();
    let provenance = facts.provenance;
    Ok(Json(Info {
        model_id: provenance.model.clone(),
        served_model_name: facts.name,
        model_sha: provenance.revision.clone(),
        model_dtype: provenance.precision.clone(),
        model_type: match facts.embeds {
            true => ModelType::Embedding(EmbeddingModel {
                pooling: provenance.pooling.clone(),
            }),
            false => ModelType::Reranker(ClassifierModel {
                id2label: [("0", "LABEL_0")].into(),
                label2id: [("LABEL_0", 0)].into(),
            }),
        },
        max_concurrent_requests: settings.max_connections,
        max_input_length: facts.max_tokens,
        max_batch_tokens: settings.max_batch_tokens,
        max_batch_requests: None,
        max_client_batch_size: settings.max_client_batch_size,
        auto_truncate: true,
        tokenization_workers: crate::service::tokenizing_threads(),
        version: env!("CARGO_PKG_VERSION"),
        sha: None,
        docker_label: None,
        dimension: facts.embeds.then_some(facts.dimension),
        capabilities,
        model_capabilities,
        models: service.model_names().map(str::to_owned).collect(),
        provenance: Origin(Arc::new(provenance)),
        limits: Limits::new(settings),
    }))
}

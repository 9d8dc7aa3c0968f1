//! `GET /api/tags`, `GET /api/ps`, `POST /api/show` and `GET /api/version`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{OllamaError, name};
use crate::http::body::AnyKind;
use crate::problem::Problem;
use crate::service::{EmbeddingService, ModelStatus};

/// When models were last changed, as far as clients are told.
fn modified_at(service: &EmbeddingService) -> String {
    humantime::format_rfc3339_seconds(service.started()).to_string()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaDetails)]
pub(crate) struct Details {
    /// None.
    parent_model: String,
    /// `onnx`.
    format: &'static str,
    /// What ran the model, where it is loaded.
    family: String,
    /// The same.
    families: Vec<String>,
    /// Not known here.
    parameter_size: String,
    /// Arithmetic of the linear layers, where the model is loaded.
    quantization_level: String,
}

impl Details {
    fn new(family: &str, precision: &str) -> Self {
        Self {
            parent_model: String::new(),
            format: "onnx",
            family: family.to_owned(),
            families: Some(family)
                .filter(|f| !f.is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
            parameter_size: String::new(),
            quantization_level: precision.to_owned(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaTags)]
pub(crate) struct Tags {
    models: Vec<Tag>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaTag)]
pub(crate) struct Tag {
    /// Its name.
    name: String,
    /// The same.
    model: String,
    /// When the server started.
    modified_at: String,
    /// Bytes of its weights.
    size: u64,
    /// Tells it from others: SHA-256 of name and revision.
    digest: String,
    details: Details,
}

/// The models that this server has, the default one first.
#[utoipa::path(
    get,
    path = "/api/tags",
    tag = "Ollama",
    responses((status = 200, description = "The models", body = Tags))
)]
pub(super) async fn tags(State(service): State<Arc<EmbeddingService>>) -> Json<Tags> {
    let tag = |model: ModelStatus| Tag {
        digest: digest(&model),
        name: model.name.clone(),
        model: model.name,
        modified_at: modified_at(&service),
        size: model.description.weights_bytes,
        details: Details::new("", ""),
    };
    Json(Tags {
        models: service.models().into_iter().map(tag).collect(),
    })
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaRunning)]
pub(crate) struct Running {
    models: Vec<RunningModel>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaRunningModel)]
pub(crate) struct RunningModel {
    /// Its name.
    name: String,
    /// The same.
    model: String,
    /// Bytes of its weights.
    size: u64,
    /// As of `/api/tags`.
    digest: String,
    details: Details,
    /// In a hundred years: it stays as long as there is memory.
    expires_at: String,
    /// 0: it is in the memory of the CPU.
    size_vram: u64,
}

const HUNDRED_YEARS: Duration = Duration::from_secs(36_525 * 86_400);

/// The models that are loaded.
#[utoipa::path(
    get,
    path = "/api/ps",
    tag = "Ollama",
    responses((status = 200, description = "The models", body = Running))
)]
pub(super) async fn ps(State(service): State<Arc<EmbeddingService>>) -> Json<Running> {
    let expires = service.started() + HUNDRED_YEARS;
    let running = |model: ModelStatus| RunningModel {
        digest: digest(&model),
        name: model.name.clone(),
        model: model.name,
        size: model.description.weights_bytes,
        details: Details::new("", ""),
        expires_at: humantime::format_rfc3339_seconds(expires).to_string(),
        size_vram: 0,
    };
    let models = service.models().into_iter();
    Json(Running {
        models: models.filter(|model| model.loaded).map(running).collect(),
    })
}

/// 64 hexadecimal digits: Ollama's own program shows the first 12.
fn digest(model: &ModelStatus) -> String {
    let revision = model.description.revision.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("{}\0{revision}", model.name));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaShowRequest)]
pub(crate) struct ShowRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: Option<String>,
    /// The same in older clients; newer ones send it empty.
    name: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaShow)]
pub(crate) struct Show {
    /// None.
    modelfile: String,
    /// None.
    parameters: String,
    /// What stands for a text: itself.
    template: &'static str,
    details: Details,
    /// `general.architecture`, `{architecture}.context_length`, `{architecture}.embedding_length`
    /// and `general.provenance`.
    #[schema(value_type = Object)]
    model_info: BTreeMap<String, Value>,
    /// `embedding`; of a reranker, which is none of Ollama's kinds, `rerank`.
    capabilities: [&'static str; 1],
    /// When the server started.
    modified_at: String,
}

/// Facts about a model; loads it.
#[utoipa::path(
    post,
    path = "/api/show",
    tag = "Ollama",
    request_body = ShowRequest,
    responses(
        (status = 200, description = "The facts", body = Show),
        (status = 400, description = "No JSON, or no model named", body = OllamaError),
        (status = 404, description = "There is no such model", body = OllamaError),
        (status = 413, description = "The body is too large", body = OllamaError),
        (status = 500, description = "The model can't be loaded", body = OllamaError),
        (status = 503, description = "The server is stopping", body = OllamaError),
    )
)]
pub(super) async fn show(
    State(service): State<Arc<EmbeddingService>>,
    AnyKind(request): AnyKind<ShowRequest>,
) -> Result<Json<Show>, Problem> {
    let mut named = [request.model, request.name].into_iter().flatten();
    let asked = named.find(|name| !name.is_empty());
    let model = name(&service, asked.unwrap_or_default())?;
    let facts = service.model_facts(Some(&model)).await?;
    let provenance = &facts.provenance;
    let info = [
        ("general.architecture", Value::from("akidb")),
        ("akidb.context_length", facts.max_tokens.into()),
        ("akidb.embedding_length", facts.dimension.into()),
        (
            "general.provenance",
            serde_json::to_value(provenance).unwrap_or_default(),
        ),
    ];
    Ok(Json(Show {
        modelfile: String::new(),
        parameters: String::new(),
        template: "{{ .Prompt }}",
        details: Details::new(&provenance.backend, &provenance.precision),
        model_info: info.map(|(name, value)| (name.to_owned(), value)).into(),
        capabilities: [if facts.embeds { "embedding" } else { "rerank" }],
        modified_at: modified_at(&service),
    }))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaVersion)]
pub(crate) struct Version {
    /// This server's.
    version: &'static str,
}

/// The server's version.
#[utoipa::path(
    get,
    path = "/api/version",
    tag = "Ollama",
    responses((status = 200, description = "The version", body = Version))
)]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}

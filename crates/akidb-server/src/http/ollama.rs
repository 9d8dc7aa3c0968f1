//! Ollama: `POST /api/embed`, `POST /api/embeddings`, `POST /api/show`, `GET /api/tags` and
//! `GET /api/version`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use akidb_embedding::{EmbedOptions, Input, OnLong};

use super::answer::{self, Origin, Seen};
use super::body::AnyKind;
use super::inputs::Inputs;
use super::schemas::AnyTexts;
use crate::ask::{Ask, ClassHeader, known};
use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::{EmbedAnswer, EmbeddingService, ModelStatus};

pub(crate) struct Ollama;

impl Interface for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        path.starts_with("/api/")
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("Ollama", "Ollama's embeddings"))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(embed))
            .routes(routes!(embeddings))
            .routes(routes!(show))
            .routes(routes!(tags))
            .routes(routes!(version))
    }

    fn words(&self, problem: &Problem) -> Response {
        let message = problem.message.clone().into_owned();
        let error = match problem.cause {
            // Ollama's words, which its clients look for.
            Cause::TooLong => format!("the input length exceeds the context length: {message}"),
            _ => message,
        };
        (problem.cause.status(), Json(OllamaError { error })).into_response()
    }

    fn error_schema(&self) -> Option<&'static str> {
        Some("OllamaError")
    }
}

/// Ollama's error.
#[derive(Debug, Serialize, ToSchema)]
struct OllamaError {
    /// What is wrong.
    error: String,
}

/// Ollama's names end with a tag, this one where none is given.
const TAG: &str = ":latest";

/// The name that the server has for what a client asks for.
fn name(service: &EmbeddingService, asked: String) -> Result<String, Problem> {
    if asked.is_empty() {
        return Err(Problem::invalid("model", "model is required"));
    }
    match asked.strip_suffix(TAG) {
        Some(bare) if known(service, &asked).is_err() => Ok(bare.to_owned()),
        _ => Ok(asked),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaEmbedRequest)]
struct EmbedRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: String,
    #[serde(default)]
    #[schema(value_type = Option<AnyTexts>)]
    input: Option<Inputs>,
    /// Whether texts that are too long are cut; otherwise they are refused. Default: true.
    truncate: Option<bool>,
    /// Keep only the first so many values (Matryoshka); 0 for all.
    dimensions: Option<usize>,
    /// Not looked at: models stay as long as there is memory.
    #[serde(rename = "keep_alive")]
    #[schema(value_type = Option<serde_json::Value>)]
    _keep_alive: Option<serde::de::IgnoredAny>,
    /// Not looked at.
    #[serde(rename = "options")]
    #[schema(value_type = Option<serde_json::Value>)]
    _options: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaEmbedResponse)]
struct EmbedResponse {
    /// The model's name, as it was asked for.
    model: String,
    /// One vector a text, in order.
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds from request to answer.
    total_duration: u64,
    /// Nanoseconds that loading the model and turning texts into tokens took.
    load_duration: u64,
    /// Tokens of all texts.
    prompt_eval_count: usize,
    /// For each text, what the model saw of it.
    inputs: Vec<Seen>,
    /// Absent where there was nothing to embed.
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Origin>,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The vectors, taken out of an answer.
fn vectors(answer: &EmbedAnswer) -> Vec<Vec<f32>> {
    let embeddings = answer.embeddings.iter();
    embeddings.map(|e| answer::floats(e).to_vec()).collect()
}

/// Embeds texts.
#[utoipa::path(
    post,
    path = "/api/embed",
    tag = "Ollama",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector a text, in order", body = EmbedResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = OllamaError),
        (status = 404, description = "There is no such model", body = OllamaError),
        (status = 413, description = "The body is too large", body = OllamaError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = OllamaError),
        (status = 500, description = "The model fails", body = OllamaError),
        (status = 503, description = "The server is stopping", body = OllamaError),
        (status = 504, description = "The answer would be too late", body = OllamaError),
    )
)]
async fn embed(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    AnyKind(request): AnyKind<EmbedRequest>,
) -> Result<Response, Problem> {
    let start = Instant::now();
    let asked = request.model.clone();
    let model = name(&service, request.model)?;
    let texts = request.input.map_or(Ok(Vec::new()), |i| i.texts("input"))?;
    // One empty text is nothing to Ollama, and so is none.
    if texts.is_empty() || (texts.len() == 1 && texts.iter().all(String::is_empty)) {
        known(&service, &model)?;
        let nothing = EmbedResponse {
            model: asked,
            embeddings: Vec::new(),
            total_duration: nanoseconds(start.elapsed()),
            load_duration: 0,
            prompt_eval_count: 0,
            inputs: Vec::new(),
            provenance: None,
        };
        return answer::json(nothing, 0).await;
    }
    let options = EmbedOptions {
        dimension: request.dimensions.filter(|&dimension| dimension > 0),
        on_long: match request.truncate {
            Some(false) => OnLong::Error,
            _ => OnLong::Truncate,
        },
        ..EmbedOptions::default()
    };
    let inputs = texts.into_iter().map(Input::from).collect();
    let answer = ask.embed(&service, Some(model), inputs, options).await?;
    let response = EmbedResponse {
        model: asked,
        embeddings: vectors(&answer),
        total_duration: nanoseconds(start.elapsed()),
        load_duration: nanoseconds(answer.timing.tokenize),
        prompt_eval_count: answer.total_tokens,
        inputs: answer::seen(&answer),
        provenance: Some(Origin(Arc::clone(&answer.provenance))),
    };
    answer::json(response, answer::numbers(&answer)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaEmbeddingsRequest)]
struct EmbeddingsRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: String,
    /// The text.
    #[serde(default)]
    prompt: Option<String>,
    /// Not looked at: models stay as long as there is memory.
    #[serde(rename = "keep_alive")]
    #[schema(value_type = Option<serde_json::Value>)]
    _keep_alive: Option<serde::de::IgnoredAny>,
    /// Not looked at.
    #[serde(rename = "options")]
    #[schema(value_type = Option<serde_json::Value>)]
    _options: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaEmbeddingsResponse)]
struct EmbeddingsResponse {
    /// The vector, not scaled to length 1; empty where there was no text.
    embedding: Vec<f32>,
    /// What the model saw of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Seen>,
    /// Absent where there was nothing to embed.
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Origin>,
}

/// Embeds one text; `/api/embed` took its place.
#[utoipa::path(
    post,
    path = "/api/embeddings",
    tag = "Ollama",
    request_body = EmbeddingsRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "The vector", body = EmbeddingsResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = OllamaError),
        (status = 404, description = "There is no such model", body = OllamaError),
        (status = 413, description = "The body is too large", body = OllamaError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = OllamaError),
        (status = 500, description = "The model fails", body = OllamaError),
        (status = 503, description = "The server is stopping", body = OllamaError),
        (status = 504, description = "The answer would be too late", body = OllamaError),
    )
)]
async fn embeddings(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    AnyKind(request): AnyKind<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    let model = name(&service, request.model)?;
    let Some(prompt) = request.prompt.filter(|prompt| !prompt.is_empty()) else {
        known(&service, &model)?;
        let nothing = EmbeddingsResponse {
            embedding: Vec::new(),
            input: None,
            provenance: None,
        };
        return answer::json(nothing, 0).await;
    };
    let options = EmbedOptions {
        normalize: false,
        ..EmbedOptions::default()
    };
    let inputs = vec![Input::from(prompt)];
    let answer = ask.embed(&service, Some(model), inputs, options).await?;
    let response = EmbeddingsResponse {
        embedding: vectors(&answer).pop().unwrap_or_default(),
        input: answer::seen(&answer).pop(),
        provenance: Some(Origin(Arc::clone(&answer.provenance))),
    };
    answer::json(response, answer::numbers(&answer)).await
}

/// When models were last changed, as far as clients are told.
fn modified_at(service: &EmbeddingService) -> String {
    humantime::format_rfc3339_seconds(service.started()).to_string()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaDetails)]
struct Details {
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
struct Tags {
    models: Vec<Tag>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaTag)]
struct Tag {
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
async fn tags(State(service): State<Arc<EmbeddingService>>) -> Json<Tags> {
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

/// 64 hexadecimal digits: Ollama's own program shows the first 12.
fn digest(model: &ModelStatus) -> String {
    let revision = model.description.revision.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("{}\0{revision}", model.name));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OllamaShowRequest)]
struct ShowRequest {
    /// Which model; `:latest` may follow.
    #[schema(example = "akidb-mini")]
    model: Option<String>,
    /// The same in older clients; newer ones send it empty.
    name: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaShow)]
struct Show {
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
    /// `embedding`.
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
async fn show(
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
        capabilities: ["embedding"],
        modified_at: modified_at(&service),
    }))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OllamaVersion)]
struct Version {
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
async fn version() -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}

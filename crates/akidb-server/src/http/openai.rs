//! OpenAI: `POST /v1/embeddings`, `GET /v1/models` and `GET /v1/models/{id}`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use akidb_embedding::{EmbedOptions, Embedding, Input, OnLong, Prompt, Role};

use super::answer::{self, Origin};
use super::body::Body;
use super::capabilities::Capabilities;
use super::inputs::Inputs;
use super::truncate::Truncate;
use crate::ask::{Ask, ClassHeader, known};
use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::{EmbeddingService, ModelStatus};

pub(crate) struct OpenAi;

impl Interface for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        path.starts_with("/v1/") || path == "/embeddings"
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("OpenAI", "OpenAI's embeddings"))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(embeddings))
            .routes(routes!(embeddings_as_tei))
            .routes(routes!(models))
            .routes(routes!(model))
    }

    fn words(&self, problem: &Problem) -> Response {
        let message = &problem.message;
        let error = ErrorBody {
            message: match problem.cause {
                // OpenAI's words, which programs look for.
                Cause::TooLong => {
                    format!("this model's maximum context length is exceeded: {message}")
                }
                _ => message.clone().into_owned(),
            },
            kind: error_type(problem.cause),
            param: problem.field.clone(),
            code: error_code(problem.cause),
        };
        (problem.cause.status(), Json(OpenAiError { error })).into_response()
    }

    fn error_schema(&self) -> &'static str {
        "OpenAiError"
    }
}

/// OpenAI's error.
#[derive(Debug, Serialize, ToSchema)]
struct OpenAiError {
    error: ErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiErrorBody)]
struct ErrorBody {
    /// What is wrong.
    message: String,
    /// `invalid_request_error`, `tokens` (too many of them at a time) or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field at fault.
    param: Option<String>,
    /// What programs can tell apart.
    code: Option<&'static str>,
}

fn error_type(cause: Cause) -> &'static str {
    match cause {
        Cause::Overloaded => "tokens",
        _ if cause.status().is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

fn error_code(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::ModelNotFound => Some("model_not_found"),
        Cause::TooLong => Some("context_length_exceeded"),
        Cause::Overloaded => Some("rate_limit_exceeded"),
        Cause::NotFound => Some("unknown_url"),
        Cause::Method => Some("method_not_supported"),
        Cause::Deadline => Some("timeout"),
        Cause::Unauthorized => Some("invalid_api_key"),
        _ => None,
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiEmbeddingsRequest)]
struct EmbeddingsRequest {
    input: Inputs,
    /// Which model; without it, the server's first.
    #[schema(example = "akidb-mini")]
    model: Option<String>,
    /// How vectors are written.
    #[serde(default)]
    encoding_format: Option<EncodingFormat>,
    /// Keep only the first so many values (Matryoshka).
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// The client's user; not looked at.
    #[serde(rename = "user")]
    _user: Option<String>,
    /// One of the model's prompts, put before each text, as TEI has it (not OpenAI's).
    prompt_name: Option<String>,
    /// What the texts are for (not OpenAI's).
    input_type: Option<InputType>,
    /// The task of a query in your own words, for models that take one (not OpenAI's).
    instruction: Option<String>,
    /// What to do with texts that are too long (not OpenAI's); without it they are refused.
    truncate: Option<Truncate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(rename_all = "lowercase")]
enum EncodingFormat {
    /// Numbers.
    #[default]
    Float,
    /// Little-endian f32 as base64.
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputType {
    /// Texts to find others with.
    #[serde(alias = "search_query")]
    Query,
    /// Texts to be found.
    #[serde(alias = "search_document", alias = "passage")]
    Document,
}

/// Clients write it in any case.
impl<'de> Deserialize<'de> for EncodingFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.to_ascii_lowercase().as_str() {
            "float" => Ok(Self::Float),
            "base64" => Ok(Self::Base64),
            _ => Err(D::Error::unknown_variant(&name, &["float", "base64"])),
        }
    }
}

impl EmbeddingsRequest {
    fn prompt(&self) -> Result<Prompt, Problem> {
        if let Some(name) = &self.prompt_name {
            if self.input_type.is_some() || self.instruction.is_some() {
                let message = "`prompt_name`, or `input_type` and `instruction`, not both";
                return Err(Problem::invalid("prompt_name", message));
            }
            return Ok(Prompt::Named(name.clone()));
        }
        let role = self.input_type.map(|input_type| match input_type {
            InputType::Query => Role::Query,
            InputType::Document => Role::Document,
        });
        Prompt::of(role, self.instruction.clone()).map_err(|_| {
            let message = "`instruction` is for queries, and `input_type` says document";
            Problem::invalid("instruction", message)
        })
    }

    fn options(&self) -> Result<EmbedOptions, Problem> {
        Ok(EmbedOptions {
            prompt: self.prompt()?,
            dimension: self.dimensions,
            on_long: self.truncate.map_or(OnLong::Error, Truncate::on_long),
            ..EmbedOptions::default()
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddingsResponse)]
struct EmbeddingsResponse {
    /// `list`.
    object: &'static str,
    data: Vec<EmbeddingObject>,
    /// The model's name.
    model: String,
    usage: Usage,
    provenance: Origin,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbedding)]
struct EmbeddingObject {
    /// `embedding`.
    object: &'static str,
    /// Which input.
    index: usize,
    embedding: Vector,
    /// Tokens of the input, special ones included.
    tokens: usize,
    /// The input was longer, and part of it was not seen.
    truncated: bool,
}

/// Numbers, or base64 of little-endian f32.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiVector)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiUsage)]
struct Usage {
    /// Tokens of all inputs.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
}

/// Embeds texts or token ids.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "OpenAI",
    request_body = EmbeddingsRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector an input, in order", body = EmbeddingsResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = OpenAiError),
        (status = 404, description = "There is no such model", body = OpenAiError),
        (status = 413, description = "The body is too large", body = OpenAiError),
        (status = 415, description = "The body is not said to be JSON", body = OpenAiError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = OpenAiError),
        (status = 500, description = "The model fails", body = OpenAiError),
        (status = 503, description = "The server is stopping", body = OpenAiError),
        (status = 504, description = "The answer would be too late", body = OpenAiError),
    )
)]
async fn embeddings(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    embed(&service, ask, request).await
}

/// The same as `/v1/embeddings`, where Text Embeddings Inference has it, too.
#[utoipa::path(
    post,
    path = "/embeddings",
    tag = "OpenAI",
    request_body = EmbeddingsRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector an input, in order", body = EmbeddingsResponse),
        (status = "4XX", description = "As of `/v1/embeddings`", body = OpenAiError),
        (status = "5XX", description = "As of `/v1/embeddings`", body = OpenAiError),
    )
)]
async fn embeddings_as_tei(
    State(service): State<Arc<EmbeddingService>>,
    ask: Ask,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    embed(&service, ask, request).await
}

async fn embed(
    service: &EmbeddingService,
    ask: Ask,
    request: EmbeddingsRequest,
) -> Result<Response, Problem> {
    let options = request.options()?;
    let format = request.encoding_format.unwrap_or_default();
    let inputs = request.input.not_empty("input")?;
    if inputs.iter().any(|input| matches!(input, Input::Tokens(_))) {
        warn_of_ids(ask.client());
    }
    let name = name(service, request.model.as_deref());
    let answer = ask.embed(service, request.model, inputs, options).await?;
    let numbers = answer::numbers(&answer);
    let vector = |embedding: &Embedding| match format {
        EncodingFormat::Float => Vector::Float(answer::floats(embedding).to_vec()),
        EncodingFormat::Base64 => Vector::Base64(answer::base64(answer::floats(embedding))),
    };
    let data = answer.embeddings.iter().enumerate();
    let response = EmbeddingsResponse {
        object: "list",
        data: data
            .map(|(index, embedding)| EmbeddingObject {
                object: "embedding",
                index,
                embedding: vector(embedding),
                tokens: embedding.tokens,
                truncated: embedding.truncated,
            })
            .collect(),
        model: name,
        usage: Usage {
            prompt_tokens: answer.total_tokens,
            total_tokens: answer.total_tokens,
        },
        provenance: Origin(answer.provenance),
    };
    answer::json(response, numbers).await
}

/// Clients that were told of: so many are remembered.
const MOST_WARNED: usize = 1024;

static WARNED: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());

/// Says once a client what programs do that count tokens with OpenAI's tokenizer and send those.
fn warn_of_ids(client: &Arc<str>) {
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.len() < MOST_WARNED && warned.insert(Arc::clone(client)) {
        tracing::warn!(
            client = &**client,
            "sends token ids: they are taken for the model's own. Those of another tokenizer \
             (tiktoken, as langchain's OpenAIEmbeddings has it unless check_embedding_ctx_length=False) \
             give vectors without meaning: send texts"
        );
    }
}

/// The name that a model is asked for by, or the default one's.
fn name(service: &EmbeddingService, asked: Option<&str>) -> String {
    let default = || service.model_names().next().unwrap_or_default();
    asked.unwrap_or_else(default).to_owned()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModels)]
struct ModelList {
    /// `list`.
    object: &'static str,
    data: Vec<ModelObject>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModel)]
struct ModelObject {
    /// Its name.
    id: String,
    /// `model`.
    object: &'static str,
    /// When the server started, in seconds since 1970.
    created: u64,
    /// `akidb`.
    owned_by: &'static str,
    capabilities: Capabilities,
}

impl ModelObject {
    fn new(service: &EmbeddingService, model: &ModelStatus) -> Self {
        let since = service.started().duration_since(UNIX_EPOCH);
        Self {
            capabilities: model.into(),
            id: model.name.clone(),
            object: "model",
            created: since.map_or(0, |since| since.as_secs()),
            owned_by: "akidb",
        }
    }
}

/// The models that this server has, the default one first.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "OpenAI",
    responses((status = 200, description = "The models", body = ModelList))
)]
async fn models(State(service): State<Arc<EmbeddingService>>) -> Json<ModelList> {
    let models = service.models();
    let object = |model| ModelObject::new(&service, model);
    Json(ModelList {
        object: "list",
        data: models.iter().map(object).collect(),
    })
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{*id}",
    tag = "OpenAI",
    params(("id" = String, Path, description = "Its name, which may hold slashes", example = "akidb-mini")),
    responses(
        (status = 200, description = "The model", body = ModelObject),
        (status = 404, description = "There is no such model", body = OpenAiError),
    )
)]
async fn model(
    State(service): State<Arc<EmbeddingService>>,
    Path(id): Path<String>,
) -> Result<Json<ModelObject>, Problem> {
    let model = known(&service, &id)?;
    Ok(Json(ModelObject::new(&service, &model)))
}

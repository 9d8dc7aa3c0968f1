//! Cohere: `POST /v2/embed`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use akidb_embedding::{EmbedOptions, Embedding, Encoding, Input, OnLong, Prompt, Values, encode};

use super::answer::{self, Origin, Seen};
use super::body::Body;
use super::inputs::Inputs;
use super::schemas::Texts;
use super::truncate::Truncate;
use crate::ask::{Ask, ClassHeader};
use crate::interface::{Head, Interface, Parts};
use crate::problem::{Cause, Problem};
use crate::service::{Class, EmbedAnswer, EmbeddingService};

pub(crate) struct Cohere;

impl Interface for Cohere {
    fn name(&self) -> &'static str {
        "cohere"
    }

    fn owns(&self, Head { path, .. }: Head<'_>) -> bool {
        path.starts_with("/v2/")
    }

    fn tag(&self) -> Option<(&'static str, &'static str)> {
        Some(("Cohere", "Cohere's embeddings"))
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new().routes(routes!(embed))
    }

    fn words(&self, problem: &Problem) -> Response {
        let error = CohereError {
            id: uuid::Uuid::new_v4().to_string(),
            message: problem.message.clone().into_owned(),
        };
        (problem.cause.status(), Json(error)).into_response()
    }

    fn error_schema(&self) -> Option<&'static str> {
        Some("CohereError")
    }
}

/// Cohere's error.
#[derive(Debug, Serialize, ToSchema)]
struct CohereError {
    /// Tells errors apart.
    id: String,
    /// What is wrong.
    message: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereEmbedRequest)]
struct EmbedRequest {
    /// Which model; without it, the server's first.
    #[schema(example = "akidb-mini")]
    model: Option<String>,
    input_type: InputType,
    /// The texts; these or `inputs`.
    #[serde(default)]
    #[schema(value_type = Option<Texts>)]
    texts: Option<Inputs>,
    /// The same, each text in parts; images are refused.
    #[schema(min_items = 1)]
    inputs: Option<Vec<EmbedInput>>,
    /// Refused: models here take texts alone.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 0)]
    images: Option<Inputs>,
    /// Texts are cut to so many tokens, or to what the model takes where that is less.
    #[schema(minimum = 2)]
    max_tokens: Option<usize>,
    /// Keep only the first so many values (Matryoshka).
    #[schema(minimum = 1)]
    output_dimension: Option<usize>,
    /// How vectors are written: one or several. Default: float.
    embedding_types: Option<Vec<EmbeddingType>>,
    /// What to do with texts that are too long. Default: END.
    truncate: Option<Truncate>,
    /// How urgent it is: 0 goes before all others. Default: by the number of texts.
    #[schema(maximum = 999)]
    priority: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = CohereInputType)]
#[serde(rename_all = "snake_case")]
enum InputType {
    /// Texts to be found.
    SearchDocument,
    /// Texts to find others with.
    SearchQuery,
    /// Texts to classify.
    Classification,
    /// Texts to cluster.
    Clustering,
}

impl From<InputType> for Prompt {
    fn from(kind: InputType) -> Self {
        match kind {
            InputType::SearchDocument => Self::Document,
            InputType::SearchQuery => Self::Query,
            InputType::Classification | InputType::Clustering => Self::Default,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereInput)]
struct EmbedInput {
    /// Its parts, joined with a line break between.
    #[schema(min_items = 1)]
    content: Vec<Content>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereContent)]
struct Content {
    #[serde(rename = "type")]
    _kind: ContentType,
    text: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereContentType)]
#[serde(rename_all = "snake_case")]
enum ContentType {
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[schema(as = CohereEmbeddingType)]
#[serde(rename_all = "lowercase")]
enum EmbeddingType {
    /// Numbers.
    Float,
    /// -127 to 127, the largest magnitude becoming 127.
    Int8,
    /// The same plus 128.
    Uint8,
    /// Signs, eight to a byte, minus 128.
    Binary,
    /// Signs, eight to a byte, the first in the highest bit.
    Ubinary,
    /// Little-endian f32 as base64.
    Base64,
}

impl EmbedRequest {
    /// The texts, whichever way they came.
    fn texts(&mut self) -> Result<Vec<Input<'static>>, Problem> {
        if self
            .images
            .as_ref()
            .is_some_and(|images| !images.0.is_empty())
        {
            return Err(Problem::invalid(
                "images",
                "images are not supported by this model",
            ));
        }
        let joined = |input: EmbedInput| {
            let parts: Vec<String> = input.content.into_iter().map(|part| part.text).collect();
            if parts.is_empty() {
                let message = "`content` of an input cannot be empty";
                return Err(Problem::new(Cause::Empty, message));
            }
            Ok(parts.join("\n"))
        };
        let texts = match (self.texts.take(), self.inputs.take()) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("inputs", "`texts` or `inputs`, not both"));
            }
            (Some(texts), None) => texts.texts("texts")?,
            (None, Some(inputs)) => inputs.into_iter().map(joined).collect::<Result<_, _>>()?,
            (None, None) => Vec::new(),
        };
        if texts.is_empty() {
            return Err(Problem::new(Cause::Empty, "`texts` cannot be empty"));
        }
        Ok(texts.into_iter().map(Input::from).collect())
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereEmbedResponse)]
struct EmbedResponse {
    /// `embeddings_by_type`.
    response_type: &'static str,
    /// Tells answers apart.
    id: String,
    embeddings: Embeddings,
    /// The texts, as they came.
    texts: Vec<String>,
    meta: Meta,
    /// For each text, what the model saw of it.
    inputs: Vec<Seen>,
    provenance: Origin,
}

/// For each type that was asked for, one vector a text, in order.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CohereEmbeddings)]
struct Embeddings {
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<Vec<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    int8: Option<Vec<Vec<i8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uint8: Option<Vec<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<Vec<Vec<i8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ubinary: Option<Vec<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<String>>,
}

impl Embeddings {
    fn new(answer: &EmbedAnswer, types: &[EmbeddingType]) -> Self {
        let all = |embed: fn(&Embedding) -> Vec<u8>| answer.embeddings.iter().map(embed).collect();
        let mut this = Self::default();
        for kind in types {
            match kind {
                EmbeddingType::Float => {
                    let floats = answer.embeddings.iter().map(answer::floats);
                    this.float = Some(floats.map(<[f32]>::to_vec).collect());
                }
                EmbeddingType::Int8 => {
                    this.int8 = Some(answer.embeddings.iter().map(codes).collect());
                }
                EmbeddingType::Uint8 => {
                    this.uint8 = Some(all(|e| codes(e).into_iter().map(offset).collect()));
                }
                EmbeddingType::Binary => {
                    let bits = answer.embeddings.iter().map(bits);
                    let signed = |bytes: Vec<u8>| bytes.into_iter().map(centred).collect();
                    this.binary = Some(bits.map(signed).collect());
                }
                EmbeddingType::Ubinary => this.ubinary = Some(all(bits)),
                EmbeddingType::Base64 => {
                    let floats = answer.embeddings.iter().map(answer::floats);
                    this.base64 = Some(floats.map(answer::base64).collect());
                }
            }
        }
        this
    }
}

fn codes(embedding: &Embedding) -> Vec<i8> {
    match encode(answer::floats(embedding).to_vec(), Encoding::I8) {
        Some(Values::I8 { codes, .. }) => codes,
        _ => Vec::new(),
    }
}

fn bits(embedding: &Embedding) -> Vec<u8> {
    match encode(answer::floats(embedding).to_vec(), Encoding::Binary) {
        Some(Values::Binary(bits)) => bits,
        _ => Vec::new(),
    }
}

/// -128 becomes 0.
fn offset(code: i8) -> u8 {
    code.cast_unsigned() ^ 0x80
}

/// 0 becomes -128.
fn centred(byte: u8) -> i8 {
    (byte ^ 0x80).cast_signed()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereMeta)]
struct Meta {
    api_version: ApiVersion,
    billed_units: Units,
    tokens: Units,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereApiVersion)]
struct ApiVersion {
    /// `2`.
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereUnits)]
struct Units {
    /// Tokens of all texts.
    input_tokens: usize,
}

/// Embeds texts.
#[utoipa::path(
    post,
    path = "/v2/embed",
    tag = "Cohere",
    request_body = EmbedRequest,
    params(ClassHeader),
    responses(
        (status = 200, description = "One vector a text and type, in order", body = EmbedResponse),
        (status = 400, description = "No JSON, or a field's value is not possible", body = CohereError),
        (status = 404, description = "There is no such model", body = CohereError),
        (status = 413, description = "The body is too large", body = CohereError),
        (status = 415, description = "The body is not said to be JSON", body = CohereError),
        (status = 429, description = "There is too much to do: Retry-After says when to try again", body = CohereError),
        (status = 500, description = "The model fails", body = CohereError),
        (status = 503, description = "The server is stopping", body = CohereError),
        (status = 504, description = "The answer would be too late", body = CohereError),
    )
)]
async fn embed(
    State(service): State<Arc<EmbeddingService>>,
    mut ask: Ask,
    Body(mut request): Body<EmbedRequest>,
) -> Result<Response, Problem> {
    let inputs = request.texts()?;
    let mut types = request.embedding_types.unwrap_or_default();
    types.sort_unstable();
    types.dedup();
    if types.is_empty() {
        types.push(EmbeddingType::Float);
    }
    let class = match request.priority {
        None => None,
        Some(0) => Some(Class::Interactive),
        Some(1..=999) => Some(Class::Bulk),
        Some(_) => return Err(Problem::invalid("priority", "`priority` is 0 to 999")),
    };
    ask.class = ask.class.or(class);
    let max_tokens = match request.max_tokens {
        Some(most) => {
            let facts = service.model_facts(request.model.as_deref()).await?;
            Some(most.min(facts.max_tokens))
        }
        None => None,
    };
    let options = EmbedOptions {
        prompt: request.input_type.into(),
        dimension: request.output_dimension,
        max_tokens,
        on_long: request.truncate.map_or(OnLong::Truncate, Truncate::on_long),
        ..EmbedOptions::default()
    };
    let text = |input: &Input| match input {
        Input::Text(text) => text.to_string(),
        Input::Tokens(_) => String::new(),
    };
    let texts = inputs.iter().map(text).collect();
    let answer = ask.embed(&service, request.model, inputs, options).await?;
    let tokens = || Units {
        input_tokens: answer.total_tokens,
    };
    let response = EmbedResponse {
        response_type: "embeddings_by_type",
        id: uuid::Uuid::new_v4().to_string(),
        embeddings: Embeddings::new(&answer, &types),
        texts,
        meta: Meta {
            api_version: ApiVersion { version: "2" },
            billed_units: tokens(),
            tokens: tokens(),
        },
        inputs: answer::seen(&answer),
        provenance: Origin(Arc::clone(&answer.provenance)),
    };
    let numbers = answer::numbers(&answer).saturating_mul(types.len());
    answer::json(response, numbers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(values: Vec<f32>) -> Embedding {
        Embedding {
            values: Values::F32(values),
            tokens: 1,
            truncated: false,
        }
    }

    #[test]
    fn small_types_are_the_signed_and_unsigned_form_of_one_code() {
        let e = embedding(vec![-1.0, 0.0, 0.5, 1.0, -0.1, 0.1, 0.1, 0.1, 0.2]);
        assert_eq!(codes(&e)[..4], [-127, 0, 64, 127]);
        assert_eq!(
            codes(&e)[..4]
                .iter()
                .map(|&c| offset(c))
                .collect::<Vec<_>>(),
            [1, 128, 192, 255]
        );
        assert_eq!(bits(&e), [0b0011_0111, 0b1000_0000]);
        assert_eq!([0, 55, 128, 255].map(centred), [-128, -73, 0, 127]);
    }
}

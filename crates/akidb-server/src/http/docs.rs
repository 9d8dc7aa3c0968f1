//! The OpenAPI document, and a page to read it with.

use utoipa::{IntoParams, OpenApi};

/// The head of the document; the routes bring the rest.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "AkiDB Embedding",
        description = "Text to vectors, in the words of OpenAI, Text Embeddings Inference, Ollama and Cohere",
        license(name = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "OpenAI", description = "OpenAI's embeddings"),
        (name = "Text Embeddings Inference", description = "Hugging Face's embedding server"),
        (name = "Ollama", description = "Ollama's embeddings"),
        (name = "Cohere", description = "Cohere's embeddings"),
    )
)]
pub(crate) struct Document;

/// A header that every embedding route knows.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its documentation is used")]
pub(crate) struct ClassHeader {
    /// How urgent the request is; without it, requests of many inputs are bulk work.
    #[param(rename = "x-akidb-class", value_type = Option<ClassName>)]
    class: Option<String>,
}

/// Interactive requests go before bulk work.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "only its documentation is used")]
pub(crate) enum ClassName {
    Interactive,
    Bulk,
}

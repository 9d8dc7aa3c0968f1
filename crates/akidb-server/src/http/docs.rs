//! The OpenAPI document: what the routes don't say of themselves.

use axum::http::Method;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi as Contents, Ref, Response};
use utoipa::{IntoParams, Modify, OpenApi};

use super::interface::Interface;
use crate::middleware::is_open;

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
        (name = "Operation", description = "Health, metrics and the console"),
    ),
    paths(
        others::health,
        others::live,
        others::ready,
        others::metrics,
        others::console,
        others::console_file,
        others::document,
        others::page,
    ),
    components(schemas(ClassName)),
)]
pub(crate) struct Document;

/// The name of the one way to show an API key.
const KEY: &str = "api_key";

/// Adds what every route has: API keys where the server has some, and the answer without.
///
/// Applied when all routes are there.
pub(crate) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Contents) {
        // The document has no word for parameters that hold slashes.
        let paths = std::mem::take(&mut document.paths.paths).into_iter();
        let paths = paths.map(|(path, item)| (path.replace("{*", "{"), item));
        document.paths.paths = paths.collect();

        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme(KEY, scheme);
        for (path, item) in &mut document.paths.paths {
            let schema = match Interface::of(path) {
                Interface::OpenAi => "OpenAiError",
                Interface::Tei => "TeiError",
                Interface::Ollama => "OllamaError",
                Interface::Cohere => "CohereError",
            };
            let operations = [(Method::GET, &mut item.get), (Method::POST, &mut item.post)];
            for (method, operation) in operations {
                let Some(operation) = operation.as_mut().filter(|_| !is_open(&method, path)) else {
                    continue;
                };
                // Either a key, or none where the server has none.
                operation.security = Some(vec![
                    SecurityRequirement::default(),
                    SecurityRequirement::new(KEY, [""; 0]),
                ]);
                let mut response = Response::new("The server has API keys, and none of them came");
                let content = Content::new(Some(Ref::from_schema_name(schema)));
                response
                    .content
                    .insert("application/json".to_owned(), content.into());
                let responses = &mut operation.responses.responses;
                responses.insert("401".to_owned(), response.into());
            }
        }
    }
}

/// Routes of other parts of the server.
mod others {
    #![allow(dead_code, reason = "only their documentation is used")]

    /// Whether the server answers at all.
    #[utoipa::path(get, path = "/health", tag = "Operation",
        responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
    fn health() {}

    /// Whether the server answers at all.
    #[utoipa::path(get, path = "/health/live", tag = "Operation",
        responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
    fn live() {}

    /// Whether requests should be sent to this server.
    #[utoipa::path(get, path = "/health/ready", tag = "Operation",
        responses(
            (status = 200, description = "They should"),
            (status = 503, description = "It is starting or stopping"),
        ))]
    fn ready() {}

    /// What Prometheus collects.
    #[utoipa::path(get, path = "/metrics", tag = "Operation",
        responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")))]
    fn metrics() {}

    /// A page to try the server out.
    #[utoipa::path(get, path = "/", tag = "Operation",
        responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
    fn console() {}

    /// What the page is made of.
    #[utoipa::path(get, path = "/console/{file}", tag = "Operation",
        params(("file" = String, Path, description = "A file's name", example = "page.css")),
        responses(
            (status = 200, description = "The file"),
            (status = 404, description = "There is no such file"),
        ))]
    fn console_file() {}

    /// This document.
    #[utoipa::path(get, path = "/openapi.json", tag = "Operation",
        responses((status = 200, description = "The document", body = Object)))]
    fn document() {}

    /// A page to read this document with.
    #[utoipa::path(get, path = "/docs/", tag = "Operation",
        responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
    fn page() {}
}

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

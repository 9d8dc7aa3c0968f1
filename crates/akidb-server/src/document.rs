//! The OpenAPI document: what the routes don't say of themselves.

use axum::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{Components, Content, OpenApi as Contents, Ref, Response};

use crate::ask::ClassName;
use crate::interface::PlainError;
use crate::interfaces::{INTERFACES, is_open, of_path};

/// The head of the document; the routes bring the rest.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "AkiDB Embedding",
        description = "Text to vectors, in the words of several interfaces that clients already speak",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(own::document, own::page),
    components(schemas(ClassName, PlainError))
)]
struct Head;

pub(crate) fn head() -> Contents {
    Head::openapi()
}

/// The name of the one way to show an API key.
const KEY: &str = "api_key";

/// Adds what every route has: its interface's name, API keys where the server has some, and the
/// answer without.
///
/// Called when all routes are there.
pub(crate) fn complete(document: &mut Contents) {
    let tag = |(name, description): (&str, &str)| -> Tag {
        TagBuilder::new()
            .name(name)
            .description(Some(description))
            .build()
    };
    let tags = INTERFACES.iter().filter_map(|interface| interface.tag());
    document.tags = Some(tags.map(tag).collect());

    // The document has no word for parameters that hold slashes.
    let paths = std::mem::take(&mut document.paths.paths).into_iter();
    let paths = paths.map(|(path, item)| (path.replace("{*", "{"), item));
    document.paths.paths = paths.collect();

    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(KEY, scheme);
    for (path, item) in &mut document.paths.paths {
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
            let schema = Ref::from_schema_name(of_path(&method, path).error_schema());
            let mut response = Response::new("The server has API keys, and none of them came");
            let content = Content::new(Some(schema));
            response
                .content
                .insert("application/json".to_owned(), content.into());
            let responses = &mut operation.responses.responses;
            responses.insert("401".to_owned(), response.into());
        }
    }
}

/// Where this document is.
mod own {
    #![allow(dead_code, reason = "only their documentation is used")]

    /// This document.
    #[utoipa::path(get, path = "/openapi.json", tag = "Operation",
        responses((status = 200, description = "The document", body = Object)))]
    fn document() {}

    /// A page to read this document with.
    #[utoipa::path(get, path = "/docs/", tag = "Operation",
        responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
    fn page() {}
}

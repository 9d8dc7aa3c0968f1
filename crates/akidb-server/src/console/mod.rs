//! The console: a page at `/` that tries the server out, built in, without any external asset.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use twox_hash::XxHash3_128;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::interface::{Head, Interface, Parts};
use crate::service::EmbeddingService;

/// A file of the page.
struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Only the server itself is asked for anything, and no other site may frame the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        [$(File { name: $name, content_type: $content_type, content: include_str!($name) }),*]
    };
}

const PAGE: &str = "page.html";

static FILES: [File; 14] = files![
    "page.html": HTML,
    "page.css": CSS,
    "icon.svg": SVG,
    "page.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "facts.js": SCRIPT,
    "heatmap.js": SCRIPT,
    "live.js": SCRIPT,
    "map.js": SCRIPT,
    "prometheus.js": SCRIPT,
    "ranking.js": SCRIPT,
    "vectors.js": SCRIPT,
    "words.js": SCRIPT,
];

pub(crate) struct Console;

fn is_file(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/")
}

/// `POST /` is TEI's way to embed.
fn is_page(method: &Method, path: &str) -> bool {
    path == "/" && [Method::GET, Method::HEAD].contains(method)
}

impl Interface for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn owns(&self, Head { method, path, .. }: Head<'_>) -> bool {
        is_page(method, path) || is_file(path)
    }

    fn routes(&self, _: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        OpenApiRouter::new()
            .routes(routes!(page))
            .routes(routes!(page_file))
    }

    /// The files hold nothing secret.
    fn is_open(&self, method: &Method, path: &str) -> bool {
        is_page(method, path) || is_file(path)
    }
}

/// A page to try the server out, for who asks for HTML; for others, what Ollama's programs look for.
#[utoipa::path(get, path = "/", tag = "Operation",
    responses((status = 200, description = "The page, or that the server is running", content(
        (String = "text/html"),
        (String = "text/plain"),
    ))))]
async fn page(headers: HeaderMap) -> Response {
    let mut response = if wants_html(&headers) {
        file(PAGE, &headers)
    } else {
        RUNNING.into_response()
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Ollama's programs ask whether they have found it.
const RUNNING: &str = "Ollama is running";

fn wants_html(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(ACCEPT).iter();
    kinds
        .filter_map(|kinds| kinds.to_str().ok())
        .any(|kinds| kinds.contains("text/html"))
}

/// What the page is made of.
#[utoipa::path(get, path = "/console/{file}", tag = "Operation",
    params(("file" = String, Path, description = "A file's name", example = "page.css")),
    responses(
        (status = 200, description = "The file"),
        (status = 404, description = "There is no such file"),
    ))]
async fn page_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, request: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{:032x}\"", XxHash3_128::oneshot(file.content.as_bytes()));
    let headers: [(HeaderName, &str); 6] = [
        (CONTENT_TYPE, file.content_type),
        // Kept, but asked for again: a new version shows at once.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (ETAG, &tag),
    ];
    if names(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.content).into_response()
}

/// Whether the caller has this version already (RFC 9110, 13.1.2).
fn names(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|given| given.trim().trim_start_matches("W/"))
        .any(|given| given == "*" || given == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str) -> &'static str {
        FILES.iter().find(|file| file.name == name).unwrap().content
    }

    #[test]
    fn every_file_that_a_file_names_is_built_in() {
        let mut seen = 0;
        for file in &FILES {
            for part in file.content.split('"') {
                let name = part.strip_prefix("./").or(part.strip_prefix("console/"));
                if let Some(name) = name {
                    assert!(
                        FILES.iter().any(|f| f.name == name),
                        "{} names {name}",
                        file.name
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > FILES.len(), "{seen}");
    }

    #[test]
    fn nothing_is_asked_from_elsewhere() {
        for file in &FILES {
            for address in ["http://", "https://", "//cdn"] {
                for (at, _) in file.content.match_indices(address) {
                    let rest = &file.content[at..];
                    assert!(
                        rest.starts_with("http://www.w3.org/"),
                        "{}: {rest:.60}",
                        file.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        // The content security policy wouldn't run them.
        let page = body(PAGE);
        for part in page.split("<script").skip(1) {
            assert!(part.starts_with(" type=\"module\" src="), "{part:.60}");
        }
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick")
        );
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let mut request = HeaderMap::new();
        let first = file(PAGE, &request);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].clone();
        request.insert(IF_NONE_MATCH, tag.clone());
        let again = file(PAGE, &request);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[ETAG], tag);
        request.insert(IF_NONE_MATCH, "\"another\"".parse().unwrap());
        assert_eq!(file(PAGE, &request).status(), StatusCode::OK);
        assert_eq!(file("../mod.rs", &request).status(), StatusCode::NOT_FOUND);
    }
}

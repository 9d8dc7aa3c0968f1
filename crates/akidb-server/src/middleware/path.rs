//! Paths as clients put them together: `/v1//embeddings`, `/v1/embeddings/`, `/v1/v1/embeddings`.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::Response;

use crate::operation::DOCUMENT_PAGE;

/// What a client's base address and its program both put before a route.
const TWICE: [&str; 3] = ["v1", "v2", "api"];

/// Takes away what is too much, before anything else looks at the path.
pub(crate) async fn tidy(mut request: Request, next: Next) -> Response {
    if let Some(uri) = tidied(request.uri()) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

fn tidied(uri: &Uri) -> Option<Uri> {
    // `OPTIONS *` has no path, and the document's page is one that ends with a slash.
    if !uri.path().starts_with('/') || uri.path().starts_with(DOCUMENT_PAGE) {
        return None;
    }
    let mut parts: Vec<&str> = uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    while let [first, second, ..] = *parts
        && first == second
        && TWICE.contains(&first)
    {
        parts.remove(0);
    }
    let mut path = format!("/{}", parts.join("/"));
    if path == uri.path() {
        return None;
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut new = uri.clone().into_parts();
    new.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(new).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_goes() {
        for (path, expected) in [
            ("/v1//embeddings", "/v1/embeddings"),
            ("//v1/embeddings/", "/v1/embeddings"),
            ("/v1/v1/v1/embeddings?a=//b", "/v1/embeddings?a=//b"),
            ("/api/api/embed", "/api/embed"),
            (
                "http://host:1/v1/embeddings/",
                "http://host:1/v1/embeddings",
            ),
            ("//", "/"),
        ] {
            let tidied = tidied(&path.parse().unwrap());
            assert_eq!(tidied.unwrap().to_string(), expected, "{path}");
        }
        for path in [
            "/",
            "/v1/embeddings",
            "/v1/models/v1/v1",
            "/x/x/y",
            "/docs/",
        ] {
            assert_eq!(tidied(&path.parse().unwrap()), None, "{path}");
        }
    }
}

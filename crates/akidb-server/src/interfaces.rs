//! All interfaces.

use axum::extract::Request;
use axum::http::{HeaderMap, Method};

use crate::console::Console;
use crate::grpc::Grpc;
use crate::http::{cohere::Cohere, ollama::Ollama, openai::OpenAi, rerank::Rerank, tei::Tei};
use crate::interface::{Head, Interface};
use crate::operation::Operation;

/// One line an interface. A request is the first one's that owns it.
pub(crate) static INTERFACES: &[&dyn Interface] = &[
    &Grpc, &Console, &Operation, // Before OpenAI, under whose prefix it has a route.
    &Cohere, &Rerank, &OpenAi, &Ollama, // The last: it owns whatever is no other's.
    &Tei,
];

/// In whose words a request is.
pub(crate) fn of(request: &Request) -> &'static dyn Interface {
    owner(Head {
        method: request.method(),
        path: request.uri().path(),
        headers: request.headers(),
    })
}

/// In whose words a request without headers would be.
pub(crate) fn of_path(method: &Method, path: &str) -> &'static dyn Interface {
    owner(Head {
        method,
        path,
        headers: &HeaderMap::new(),
    })
}

fn owner(head: Head<'_>) -> &'static dyn Interface {
    let owner = INTERFACES.iter().find(|interface| interface.owns(head));
    *owner.unwrap_or(&(&Tei as &dyn Interface))
}

/// Whether a request needs no API key.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    INTERFACES
        .iter()
        .any(|interface| interface.is_open(method, path))
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn every_path_has_its_interface() {
        for (method, path, name) in [
            (Method::GET, "/", "console"),
            (Method::POST, "/", "tei"),
            (Method::GET, "/console/page.js", "console"),
            (Method::GET, "/health/ready", "operation"),
            (Method::GET, "/metrics", "operation"),
            (Method::GET, "/docs/", "operation"),
            (Method::POST, "/v1/embeddings", "openai"),
            (Method::POST, "/api/embed", "ollama"),
            (Method::POST, "/embeddings", "openai"),
            (Method::POST, "/v2/embed", "cohere"),
            (Method::POST, "/v1/embed", "cohere"),
            (Method::POST, "/v1/rerank", "rerank"),
            (Method::POST, "/score", "rerank"),
            (Method::POST, "/v2/rerank", "cohere"),
            (Method::POST, "/rerank", "tei"),
            (Method::POST, "/embed", "tei"),
            (Method::GET, "/no/such/path", "tei"),
        ] {
            assert_eq!(of_path(&method, path).name(), name, "{method} {path}");
        }
        let headers = [(CONTENT_TYPE, "application/grpc+proto".parse().unwrap())];
        let call = Head {
            method: &Method::POST,
            path: "/anything",
            headers: &headers.into_iter().collect(),
        };
        assert_eq!(owner(call).name(), "grpc");
    }

    #[test]
    fn only_probes_and_pages_are_open() {
        for path in [
            "/",
            "/health",
            "/health/ready",
            "/ping",
            "/console/page.js",
            "/docs/",
            "/openapi.json",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(is_open(&Method::GET, path), "{path}");
        }
        for path in [
            "/v1/embeddings",
            "/metrics",
            "/info",
            "/healthy",
            "//",
            "/embed",
            "/document",
        ] {
            assert!(!is_open(&Method::GET, path), "{path}");
        }
        assert!(!is_open(&Method::POST, "/"));
    }
}

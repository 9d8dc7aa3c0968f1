//! Any bytes as the body of a request, whose route the first byte chooses: every interface of the
//! server decodes it, and answers in its own words.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use akidb_embedding::{BackendChoice, Embedder};
use akidb_server::{EmbeddingService, ModelSettings, Settings, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/akidb-testing/fixtures"
);
/// An embedder, which is the default, and a reranker.
const MODELS: [(&str, &str); 2] = [("tiny", "tiny"), ("reranker", "tiny-rerankers/qwen3-seq")];
const GRPC: [&str; 2] = ["/akidb.embedding.v1.EmbeddingService/", "/tei.v1."];
const ROUTES: [&str; 21] = [
    "/v1/embeddings",
    "/embed",
    "/embed_all",
    "/similarity",
    "/tokenize",
    "/decode",
    "/api/embed",
    "/api/embeddings",
    "/api/show",
    "/v2/embed",
    "/akidb.embedding.v1.EmbeddingService/Embed",
    "/akidb.embedding.v1.EmbeddingService/EmbedStream",
    "/akidb.embedding.v1.EmbeddingService/GetModelInfo",
    "/rerank",
    "/v1/rerank",
    "/v2/rerank",
    "/score",
    "/akidb.embedding.v1.EmbeddingService/Rerank",
    "/akidb.embedding.v1.EmbeddingService/RerankStream",
    "/tei.v1.Rerank/Rerank",
    "/tei.v1.Rerank/RerankStream",
];

struct Server {
    runtime: Runtime,
    router: Router,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    // The tokenizer library's own panics are caught; any other, on any thread, ends the run.
    std::panic::set_hook(Box::new(|info| {
        if !info
            .location()
            .is_some_and(|l| l.file().contains("/tokenizers-"))
        {
            eprintln!("{info}");
            std::process::abort();
        }
    }));
    let service = EmbeddingService::new(Settings {
        models: MODELS
            .map(|(name, directory)| ModelSettings {
                name: name.to_owned(),
                builder: Embedder::builder()
                    .model(format!("{FIXTURES}/{directory}"))
                    .backend(BackendChoice::Native)
                    .threads(1),
            })
            .into(),
        max_client_batch_size: 64,
        ..Settings::default()
    });
    Server {
        runtime: Runtime::new().unwrap(),
        router: router(Arc::new(service.unwrap())),
    }
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, body)) = data.split_first() else {
        return;
    };
    let route = ROUTES[usize::from(which) % ROUTES.len()];
    let grpc = GRPC.iter().any(|service| route.starts_with(service));
    let body = if grpc {
        // The frame that a message travels in: not compressed, its length.
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[0], &length[..], body].concat()
    } else {
        body.to_vec()
    };
    let kind = if grpc {
        "application/grpc"
    } else {
        "application/json"
    };
    let request = Request::post(route)
        .header("content-type", kind)
        .header("te", "trailers")
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))))
        .body(Body::from(body))
        .unwrap();
    let server = &*SERVER;
    let (status, body) = server.runtime.block_on(async {
        let response = server.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (
            status,
            to_bytes(response.into_body(), usize::MAX).await.unwrap(),
        )
    });
    if grpc {
        assert_eq!(status, StatusCode::OK);
        return;
    }
    assert!(
        status != StatusCode::INTERNAL_SERVER_ERROR && status != StatusCode::NOT_FOUND
            || known(&body),
        "{status} {body:?}"
    );
    // NaN and infinity aren't JSON: an answer that holds one doesn't parse.
    serde_json::from_slice::<serde_json::Value>(&body).unwrap();
});

/// A model that isn't there is a 404, too.
fn known(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("model")
}

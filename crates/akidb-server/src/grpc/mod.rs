//! gRPC: AkiDB's `akidb.embedding.v1.EmbeddingService`, Text Embeddings Inference's services, health and
//! reflection.

mod bulk;
mod codec;
mod health;
mod messages;
mod request;
mod rerank;
mod service;
mod status;
mod tei;
mod tei_rerank;
mod timeout;

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated from the .proto file, checked by tests/it/proto.rs"
)]
mod proto {
    include!("generated/server.rs");
}

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated from the .proto file, checked by tests/it/proto.rs"
)]
mod tei_proto {
    include!("generated/tei.rs");
}

use std::sync::Arc;

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use tonic::{Code, Status};
use utoipa_axum::router::OpenApiRouter;

use crate::interface::{Head, Interface, Parts, Transfer};
use crate::problem::Problem;
use crate::service::EmbeddingService;
use proto::embedding_service_server::EmbeddingServiceServer;
use tei_proto::embed_server::EmbedServer;
use tei_proto::info_server::InfoServer;
use tei_proto::rerank_server::RerankServer;
use tei_proto::tokenize_server::TokenizeServer;

/// The services whose health is the server's.
const NAMES: [&str; 5] = [
    "akidb.embedding.v1.EmbeddingService",
    "tei.v1.Info",
    "tei.v1.Embed",
    "tei.v1.Rerank",
    "tei.v1.Tokenize",
];

/// What reflection tells.
const DESCRIPTOR: &[u8] = include_bytes!("generated/descriptor.bin");

/// The calls that may last as long as their clients want.
const STREAMS: [&str; 7] = [
    "/akidb.embedding.v1.EmbeddingService/EmbedStream",
    "/akidb.embedding.v1.EmbeddingService/RerankStream",
    "/tei.v1.Embed/EmbedStream",
    "/tei.v1.Embed/EmbedAllStream",
    "/tei.v1.Rerank/RerankStream",
    "/tei.v1.Tokenize/TokenizeStream",
    "/tei.v1.Tokenize/DecodeStream",
];

/// What probes ask.
const HEALTH: &str = "/grpc.health.v1.Health/";

pub(crate) struct Grpc;

impl Interface for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn owns(&self, head: Head<'_>) -> bool {
        status::is_grpc(head.headers)
    }

    fn routes(&self, server: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
        routes(server)
    }

    fn words(&self, problem: &Problem) -> Response {
        status::status(problem).into_http()
    }

    fn finish(&self, response: Response) -> Response {
        status::of_response(response)
    }

    fn status(&self, response: &Response) -> String {
        let code = response.headers().get(Status::GRPC_STATUS);
        let code = code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
        format!("{code:?}")
    }

    fn is_open(&self, _: &Method, path: &str) -> bool {
        path.starts_with(HEALTH)
    }

    fn transfer(&self, request: &Request) -> Transfer {
        let streams = STREAMS.contains(&request.uri().path());
        Transfer {
            timeout: timeout::timeout(request.headers()),
            framing: messages::PREFIX_BYTES,
            two_way: true,
            messages: streams.then_some(messages::messages),
        }
    }
}

/// All services.
fn routes(server: &Parts) -> OpenApiRouter<Arc<EmbeddingService>> {
    let Parts { service, lifecycle } = server.clone();
    let most = service.settings().max_body_bytes;
    let bulk = bulk::Bulk {
        service,
        lifecycle: lifecycle.clone(),
    };
    let embedding = EmbeddingServiceServer::new(service::Calls::new(bulk.clone()))
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let tei = tei::Tei::new(bulk);
    let info = InfoServer::new(tei.clone());
    let embed = EmbedServer::new(tei.clone())
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let rerank = RerankServer::new(tei.clone())
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let tokenize = TokenizeServer::new(tei)
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let health = tonic_health::pb::health_server::HealthServer::new(health::Readiness(lifecycle));
    let mut routes = OpenApiRouter::new()
        .route_service("/akidb.embedding.v1.EmbeddingService/{method}", embedding)
        .route_service("/tei.v1.Info/{method}", info)
        .route_service("/tei.v1.Embed/{method}", embed)
        .route_service("/tei.v1.Rerank/{method}", rerank)
        .route_service("/tei.v1.Tokenize/{method}", tokenize)
        .route_service("/grpc.health.v1.Health/{method}", health);

    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Older tools know only the alpha version.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes = routes
                .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
                .route_service(
                    "/grpc.reflection.v1alpha.ServerReflection/{method}",
                    v1alpha,
                );
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "there is no gRPC reflection");
        }
    }
    routes
}

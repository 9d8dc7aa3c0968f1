//! gRPC: AkiDB's `akidb.embedding.v1.EmbeddingService`, health and reflection.

mod codec;
mod health;
mod messages;
mod request;
mod service;
mod status;
mod timeout;

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated from the .proto file, checked by tests/proto.rs"
)]
mod proto {
    include!("generated/server.rs");
}

use std::sync::Arc;

use axum::Router;

pub(crate) use messages::{PREFIX_BYTES, messages};
pub(crate) use status::{is_grpc, of_response};
pub(crate) use timeout::timeout;

use crate::lifecycle::Lifecycle;
use crate::service::EmbeddingService;
use proto::embedding_service_server::EmbeddingServiceServer;

const NAME: &str = "akidb.embedding.v1.EmbeddingService";

/// What reflection tells.
const DESCRIPTOR: &[u8] = include_bytes!("generated/descriptor.bin");

/// The call that may last as long as its client wants.
pub(crate) const STREAM: &str = "/akidb.embedding.v1.EmbeddingService/EmbedStream";

/// Paths that need no key: what probes ask.
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/";

/// All services.
pub(crate) fn routes(service: Arc<EmbeddingService>, lifecycle: Lifecycle) -> Router {
    let most = service.settings().max_body_bytes;
    let embedding = EmbeddingServiceServer::new(service::Grpc::new(service, lifecycle.clone()))
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    let health = tonic_health::pb::health_server::HealthServer::new(health::Readiness(lifecycle));
    let mut routes = Router::new()
        .route_service("/akidb.embedding.v1.EmbeddingService/{method}", embedding)
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

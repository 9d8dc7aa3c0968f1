//! Traces reach an OpenTelemetry collector. Alone in its process: it has one global subscriber.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use akidb_server::{Settings, Telemetry};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use tracing_subscriber::filter::LevelFilter;

use common::{EMBED, Running, raw, request, settings};

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn a_request_is_a_span_of_the_callers_trace() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let (send, mut received) = mpsc::unbounded_channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = axum::Router::new().route_service(
        "/opentelemetry.proto.collector.trace.v1.TraceService/{method}",
        TraceServiceServer::new(Collector(send)),
    );
    runtime.spawn(async move { axum::serve(listener, collector).await });

    let settings = Settings {
        otlp_endpoint: Some(endpoint),
        ..settings()
    };
    let telemetry = Telemetry::start(&settings, LevelFilter::ERROR).unwrap();
    let server = Running::start(settings);
    let parent = "traceparent: 00-0123456789abcdef0123456789abcdef-00f067aa0ba902b7-01\r\n";
    raw(
        server.address(),
        &request("POST /v1/embeddings", parent, EMBED),
    );
    drop(server);
    drop(telemetry);

    let wait = async { tokio::time::timeout(Duration::from_secs(30), received.recv()).await };
    let export = runtime.block_on(wait).unwrap().unwrap();
    let resource = &export.resource_spans[0];
    let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
    let span = spans
        .filter(|span| span.name == "request")
        .find(|span| span.trace_id.starts_with(&[0x01, 0x23, 0x45]))
        .unwrap();
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    let has = |name: &str| {
        span.attributes
            .iter()
            .any(|attribute| attribute.key == name)
    };
    assert!(has("path") && has("id"), "{:?}", span.attributes);
}

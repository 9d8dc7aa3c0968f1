//! `GET /metrics`, in Prometheus' text format.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::service::EmbeddingService;

/// Bounds in seconds: from a cached text to a long queue.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Bounds in tokens of a batch.
const TOKENS: [f64; 12] = [
    8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
/// Where they are.
pub(crate) const METRICS: &str = "/metrics";

/// How often samples that nobody fetched are put together, so that they don't pile up.
const UPKEEP: Duration = Duration::from_secs(5);

static EXPORTER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts to gather the process's metrics, where nobody else does already.
pub(crate) fn start() {
    EXPORTER.get_or_init(|| {
        install()
            .inspect_err(|error| tracing::warn!(error, "there are no metrics at /metrics"))
            .ok()
    });
}

fn install() -> Result<PrometheusHandle, String> {
    let recorder = builder()
        .map_err(|error| error.to_string())?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    describe();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_tokens".to_owned()), &TOKENS)
}

fn describe() {
    let seconds = [
        (
            "akidb_request_duration_seconds",
            "From a request's arrival to its answer, by interface and status",
        ),
        (
            "akidb_queue_wait_seconds",
            "From a request's entry into the queue to its first pass",
        ),
        ("akidb_batch_duration_seconds", "One pass of a model"),
    ];
    for (name, doc) in seconds {
        describe_histogram!(name, Unit::Seconds, doc);
    }
    describe_histogram!(
        "akidb_batch_tokens",
        Unit::Count,
        "Tokens of one pass of a model"
    );
    let counters = [
        ("akidb_requests_total", "Requests, by interface and status"),
        ("akidb_tokens_total", "Tokens that a model has seen"),
        ("akidb_texts_total", "Texts that were embedded"),
        ("akidb_truncated_texts_total", "Texts whose end was cut off"),
        (
            "akidb_cached_texts_total",
            "Texts whose vector was known already",
        ),
        ("akidb_errors_total", "Requests without an answer, by cause"),
    ];
    for (name, doc) in counters {
        describe_counter!(name, Unit::Count, doc);
    }
    describe_gauge!(
        "akidb_queue_tokens",
        Unit::Count,
        "Tokens that wait for a pass"
    );
    describe_gauge!("akidb_models_loaded", Unit::Count, "Models that are loaded");
    describe_gauge!(
        "akidb_model_bytes",
        Unit::Bytes,
        "The weights of a model, by the size of its files; 0 while it isn't loaded"
    );
    describe_gauge!(
        "akidb_held_bytes",
        Unit::Bytes,
        "What is held for clients, from their requests' first byte to their answers' last; bounded by \
         max_queue_bytes"
    );
    describe_gauge!(
        "akidb_resident_bytes",
        Unit::Bytes,
        "Memory that the process holds"
    );
}

/// Keeps the samples small; doesn't end.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(Some(exporter)) = EXPORTER.get() {
            exporter.run_upkeep();
        }
    }
}

/// All metrics as they are now.
pub(crate) fn metrics(service: &EmbeddingService) -> Response {
    let Some(Some(exporter)) = EXPORTER.get() else {
        return (StatusCode::NOT_FOUND, "metrics are gathered elsewhere").into_response();
    };
    service.tell();
    if let Some(memory) = memory_stats::memory_stats() {
        metrics::gauge!("akidb_resident_bytes").set(memory.physical_mem as f64);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], exporter.render()).into_response()
}

//! What `/metrics` says. Alone in its process: metrics are the process's, and other servers of it count, too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{EMBED, Running, raw, request, settings};

const POST: &str = "POST /v1/embeddings";

#[test]
fn metrics_count_requests_by_interface_and_status() {
    let server = Running::start(settings()).ready();
    raw(server.address(), &request(POST, "", EMBED));
    raw(server.address(), &request(POST, "", "{"));
    let metrics = raw(server.address(), "GET /metrics HTTP/1.0\r\n\r\n");
    for line in [
        "akidb_requests_total{interface=\"openai\",status=\"200\"} ",
        "akidb_requests_total{interface=\"openai\",status=\"400\"} ",
        "akidb_request_duration_seconds_bucket{interface=\"openai\",status=\"200\",le=\"0.05\"} ",
        "akidb_request_duration_seconds_count{interface=\"openai\",status=\"400\"} ",
        "# HELP akidb_requests_total ",
        "akidb_resident_bytes ",
        "akidb_models_loaded 1",
        "akidb_model_bytes{model=\"akidb-mini\"} 1",
        "akidb_queue_tokens{model=\"akidb-mini\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

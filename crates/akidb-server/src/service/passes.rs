//! Passes in the metrics.

use std::sync::Arc;
use std::time::Duration;

use akidb_schedule::{Observer, PassStart};
use metrics::{counter, histogram};

/// Puts each pass into the metrics.
#[derive(Debug)]
pub(super) struct PassMetrics;

impl Observer for PassMetrics {
    fn started(&self, pass: &PassStart) {
        let class = pass.class.as_str();
        let name = || Arc::clone(&pass.engine);
        let waits = histogram!("akidb_queue_wait_seconds", "model" => name(), "class" => class);
        for waited in &pass.waited {
            waits.record(*waited);
        }
        histogram!("akidb_batch_tokens", "model" => name()).record(pass.tokens as f64);
        counter!("akidb_tokens_total", "model" => name()).increment(pass.tokens as u64);
        counter!("akidb_texts_total", "model" => name()).increment(pass.waited.len() as u64);
    }

    fn ended(&self, engine: &Arc<str>, took: Duration) {
        let name = Arc::clone(engine);
        histogram!("akidb_batch_duration_seconds", "model" => name).record(took);
    }
}

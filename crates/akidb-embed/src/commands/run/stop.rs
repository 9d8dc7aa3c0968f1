//! Ctrl-C: once, and the pass is finished; twice, and the process ends.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::message::failure;

/// Exit status after an interrupt, as shells have it.
pub(super) const INTERRUPTED: i32 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// Set by SIGINT, SIGTERM and SIGHUP.
pub(super) fn on_interrupt() -> &'static AtomicBool {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            exit(INTERRUPTED);
        }
        failure(format_args!(
            "interrupted: the pass is finished; once more ends it at once"
        ));
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("an interrupt would end the work at once: {error}");
    }
    &STOP
}

//! The border to RTen while it loads: its recursion finds a stack that suffices.

use std::thread;

use akidb_backend::{BackendError, BackendErrorKind};

/// Stack for loading and for the first run, in bytes. RTen plans a graph by recursion, a node a
/// call of 0.5 KiB (1.5 KiB unoptimised), and keeps the plan; the stack must hold
/// [`MAX_NODES`](crate::bounds::MAX_NODES) calls. Pages are taken only when touched.
const STACK: usize = 128 << 20;

/// Calls `f` on a thread of its own with a deep stack; a panic in it becomes an error of kind
/// `Failed`, as [`akidb_graph::catch_panic`] makes of others.
pub(crate) fn on_deep_stack<T: Send>(
    what: &str,
    f: impl FnOnce() -> Result<T, BackendError> + Send,
) -> Result<T, BackendError> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("rten-load".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, f)
            .map_err(|e| {
                BackendError::new(
                    BackendErrorKind::Failed,
                    format!("no thread can be started for {what}"),
                )
                .with_source(e)
            })?
            .join()
            .unwrap_or_else(|_| {
                Err(BackendError::new(
                    BackendErrorKind::Failed,
                    format!("RTen panicked while {what}"),
                ))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_errors_and_panics() {
        assert_eq!(on_deep_stack("x", || Ok(1)).unwrap(), 1);
        let error = || Err::<(), _>(BackendError::new(BackendErrorKind::InvalidInput, "no"));
        assert_eq!(on_deep_stack("x", error).unwrap_err().to_string(), "no");

        let panicking = || -> Result<(), BackendError> { panic!("seen once") };
        let error = on_deep_stack("adding", panicking).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Failed);
        assert_eq!(error.to_string(), "RTen panicked while adding");
    }
}

//! The border to RTen: its panics become errors, and its recursion finds a stack that suffices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use akidb_backend::{BackendError, BackendErrorKind};

/// Stack for loading and for the first run, in bytes. RTen plans a graph by recursion, a node a
/// call of 0.5 KiB (1.5 KiB unoptimised), and keeps the plan; the stack must hold
/// [`MAX_NODES`](crate::graph::MAX_NODES) calls. Pages are taken only when touched.
const STACK: usize = 128 << 20;

/// Calls `f`; a panic in it becomes an error of kind `Failed` that says what was being done.
///
/// RTen checks what it reads, but a graph that nobody has tried before may still meet one of its
/// assertions, and one model must not end the process. The panic hook has shown the message by
/// then, so the error doesn't repeat it. What RTen changes while running is its cached plan,
/// behind a lock that a panic poisons: later calls fail too, and nothing half-made is used.
pub(crate) fn catch<T>(
    what: &str,
    f: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(panicked(what)))
}

/// As [`catch`], on a thread of its own with a deep stack.
pub(crate) fn catch_on_deep_stack<T: Send>(
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
            .unwrap_or_else(|_| Err(panicked(what)))
    })
}

fn panicked(what: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Failed,
        format!("RTen panicked while {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_errors_pass() {
        assert_eq!(catch("x", || Ok(1)).unwrap(), 1);
        assert_eq!(catch_on_deep_stack("x", || Ok(1)).unwrap(), 1);
        let error = || Err::<(), _>(BackendError::new(BackendErrorKind::InvalidInput, "no"));
        assert_eq!(catch("x", error).unwrap_err().to_string(), "no");
        assert_eq!(
            catch_on_deep_stack("x", error).unwrap_err().to_string(),
            "no"
        );
    }

    #[test]
    fn a_panic_is_an_error() {
        let panicking = || -> Result<(), BackendError> { panic!("seen once") };
        let errors = [
            catch("adding", panicking).unwrap_err(),
            catch_on_deep_stack("adding", panicking).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), BackendErrorKind::Failed);
            assert_eq!(error.to_string(), "RTen panicked while adding");
        }
    }
}

//! The border to an engine: its panics become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use akidb_backend::{BackendError, BackendErrorKind};

/// Calls `f`; a panic in it becomes an error of kind `Failed` that says which engine did what.
///
/// An engine checks what it reads, but a graph that nobody has tried before may still meet one of
/// its assertions, and one model must not end the process. The panic hook has shown the message by
/// then, so the error doesn't repeat it. The caller sees to it that nothing half-made is used again.
///
/// # Errors
/// Those of `f`, and its panic.
pub fn catch_panic<T>(
    engine: &str,
    what: &str,
    f: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        Err(BackendError::new(
            BackendErrorKind::Failed,
            format!("{engine} panicked while {what}"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_errors_and_panics() {
        assert_eq!(catch_panic("X", "adding", || Ok(1)).unwrap(), 1);
        let error = || Err::<(), _>(BackendError::new(BackendErrorKind::InvalidInput, "no"));
        let caught = catch_panic("X", "adding", error).unwrap_err();
        assert_eq!(caught.to_string(), "no");

        let panicking = || -> Result<(), BackendError> { panic!("seen once") };
        let caught = catch_panic("X", "adding", panicking).unwrap_err();
        assert_eq!(caught.kind(), BackendErrorKind::Failed);
        assert_eq!(caught.to_string(), "X panicked while adding");
    }
}

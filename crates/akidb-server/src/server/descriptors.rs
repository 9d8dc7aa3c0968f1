//! File descriptors: one a connection.

/// What the process needs beside its connections: models, logs, the listener.
const OTHERS: u64 = 128;

/// Raises the process's limit as far as so many connections need, and says where it can't be raised.
pub(super) fn allow(max_connections: usize) {
    let wanted = u64::try_from(max_connections).unwrap_or(u64::MAX);
    let wanted = wanted.saturating_add(OTHERS);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "the process may not open as many files as max_connections needs: more connections wait \
             before it is reached (ulimit -Hn, LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}

//! Many files at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::error::CorpusError;

/// More than cores: files elsewhere are waited for.
const THREADS: usize = 16;

/// `work` for each item, on several threads, in order; the first error that any has.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, CorpusError> + Sync,
) -> Result<Vec<R>, CorpusError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while let place = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(place)
        {
            let result = work(item);
            let failed = result.is_err();
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((place, result));
            if failed {
                next.store(items.len(), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let threads = (0..THREADS.min(items.len())).map(|_| scope.spawn(work));
        let threads: Vec<_> = threads.collect();
        // A damaged file may be one at which a reader panics.
        let joined = threads.into_iter().map(|thread| thread.join());
        let joined: Result<Vec<()>, _> = joined.collect();
        joined.map_err(|_| CorpusError::Thread("looks at files"))
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

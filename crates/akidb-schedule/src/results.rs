//! Outputs that were computed before.

use std::fmt;
use std::marker::PhantomData;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::engine::Engine;
use crate::request::EngineId;

type Key<E> = (EngineId, <E as Engine>::Item);

/// What an entry takes beside its item and output, in bytes.
const ENTRY_BYTES: usize = 160;

/// A text of a few tokens and its state: what the cache's size in entries is guessed by.
const USUAL_BYTES: usize = 2048;

struct Bytes<E>(PhantomData<fn() -> E>);

impl<E> Clone for Bytes<E> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<E: Engine> Weighter<Key<E>, E::Output> for Bytes<E> {
    fn weight(&self, (_, item): &Key<E>, output: &E::Output) -> u64 {
        let bytes = ENTRY_BYTES.saturating_add(E::bytes(item, output));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Outputs by engine and item, within a budget of bytes.
pub(crate) struct Results<E: Engine>(Option<Cache<Key<E>, E::Output, Bytes<E>>>);

impl<E: Engine> Results<E> {
    /// Nothing is kept where `bytes` is 0.
    pub(crate) fn new(bytes: usize) -> Self {
        let capacity = u64::try_from(bytes).unwrap_or(u64::MAX);
        let items = bytes / USUAL_BYTES + 1;
        let cache = || Cache::with_weighter(items, capacity, Bytes(PhantomData));
        Self((bytes > 0).then(cache))
    }

    pub(crate) fn get(&self, engine: EngineId, item: &E::Item) -> Option<E::Output> {
        self.0.as_ref()?.get(&(engine, item.clone()))
    }

    /// Keeps an output, unless it isn't sound: that may be a fault that passes.
    pub(crate) fn keep(&self, engine: EngineId, item: &E::Item, output: &E::Output) {
        if let Some(cache) = &self.0
            && E::is_sound(output)
        {
            cache.insert((engine, item.clone()), output.clone());
        }
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, Cache::weight)
    }
}

impl<E: Engine> fmt::Debug for Results<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        f.debug_struct("Results").field("bytes", &bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, text};

    const A: EngineId = EngineId(1);
    const B: EngineId = EngineId(2);

    #[test]
    fn what_was_kept_is_found_by_engine_and_item() {
        let results = Results::<Fake>::new(1 << 20);
        results.keep(A, &text(7, 2), &1.0);
        assert_eq!(results.get(A, &text(7, 2)), Some(1.0));
        assert_eq!(results.get(B, &text(7, 2)), None);
        assert_eq!(results.get(A, &text(8, 2)), None);
    }

    #[test]
    fn the_budget_holds_and_zero_keeps_nothing() {
        let budget = 64 << 10;
        let results = Results::<Fake>::new(budget);
        for n in 0..1000 {
            results.keep(A, &text(n, 256), &0.5);
        }
        let bytes = results.bytes();
        assert!(bytes > 0 && bytes <= budget as u64, "{bytes}");

        let none = Results::<Fake>::new(0);
        none.keep(A, &text(0, 2), &0.5);
        assert_eq!((none.get(A, &text(0, 2)), none.bytes()), (None, 0));
    }

    #[test]
    fn an_output_that_is_not_sound_is_not_kept() {
        let results = Results::<Fake>::new(1 << 20);
        results.keep(A, &text(7, 2), &f32::NAN);
        assert_eq!(results.get(A, &text(7, 2)), None);
    }
}

//! States that were computed before.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::State;
use super::fair::ModelId;

type Key = (ModelId, Arc<[u32]>);

/// What an entry takes beside its ids and values, in bytes.
const ENTRY_BYTES: usize = 160;

/// A text of a few tokens and its state: what the cache's size in entries is guessed by.
const USUAL_BYTES: usize = 2048;

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, State> for Bytes {
    fn weight(&self, (_, ids): &Key, state: &State) -> u64 {
        let bytes = ENTRY_BYTES + size_of_val(&**ids) + size_of_val(&**state);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// States by model and token ids, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Results(Option<Cache<Key, State, Bytes>>);

impl Results {
    /// Nothing is kept where `bytes` is 0.
    pub(super) fn new(bytes: usize) -> Self {
        let capacity = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cache = || Cache::with_weighter(bytes / USUAL_BYTES + 1, capacity, Bytes);
        Self((bytes > 0).then(cache))
    }

    pub(super) fn get(&self, model: ModelId, ids: &Arc<[u32]>) -> Option<State> {
        self.0.as_ref()?.get(&(model, Arc::clone(ids)))
    }

    /// Keeps a state, unless it has a value that isn't a number: that may be a fault that passes.
    pub(super) fn keep(&self, model: ModelId, ids: &Arc<[u32]>, state: &State) {
        if let Some(cache) = &self.0
            && state.iter().all(|value| value.is_finite())
        {
            cache.insert((model, Arc::clone(ids)), Arc::clone(state));
        }
    }

    /// Bytes of what is kept.
    pub(super) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, Cache::weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: u32) -> Arc<[u32]> {
        [n, 1].into()
    }

    #[test]
    fn what_was_kept_is_found_by_model_and_ids() {
        let results = Results::new(1 << 20);
        let state: State = [1.0, 2.0].into();
        results.keep(1, &ids(7), &state);
        assert_eq!(results.get(1, &ids(7)), Some(state));
        assert_eq!(results.get(2, &ids(7)), None);
        assert_eq!(results.get(1, &ids(8)), None);
    }

    #[test]
    fn the_budget_holds_and_zero_keeps_nothing() {
        let budget = 64 << 10;
        let results = Results::new(budget);
        let state: State = vec![0.5; 256].into();
        for n in 0..1000 {
            results.keep(1, &ids(n), &state);
        }
        let bytes = results.bytes();
        assert!(bytes > 0 && bytes <= budget as u64, "{bytes}");

        let none = Results::new(0);
        none.keep(1, &ids(0), &state);
        assert_eq!((none.get(1, &ids(0)), none.bytes()), (None, 0));
    }

    #[test]
    fn a_state_that_is_not_finite_is_not_kept() {
        let results = Results::new(1 << 20);
        results.keep(1, &ids(7), &[1.0, f32::NAN].into());
        assert_eq!(results.get(1, &ids(7)), None);
    }
}

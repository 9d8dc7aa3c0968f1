//! An engine's first passes: they read its data in and show how fast it is.

use std::slice;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::speed::{Speed, cost};

/// Of a few runs the fastest counts. The first reads the data in.
const SMALL_RUNS: usize = 4;
const LARGE_RUNS: usize = 2;

/// Runs a small and a larger item, each pass with `cores` held.
pub(crate) fn warm_up<E: Engine>(
    engine: &E,
    small: &E::Item,
    large: &E::Item,
    group: &E::Group,
    cores: &Mutex<()>,
) -> Result<Speed, E::Error> {
    let small = best(engine, small, group, cores, SMALL_RUNS)?;
    let large = best(engine, large, group, cores, LARGE_RUNS)?;
    Ok(Speed::of(small, large))
}

/// An item's cost and the fastest of its runs.
fn best<E: Engine>(
    engine: &E,
    item: &E::Item,
    group: &E::Group,
    cores: &Mutex<()>,
    runs: usize,
) -> Result<(u64, Duration), E::Error> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let _alone = cores.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        engine.run(slice::from_ref(item), group)?;
        best = best.min(start.elapsed());
    }
    Ok((cost(E::tokens(item)), best))
}

//! What the machine gives at this moment: the measure of every timing beside it.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Larger than any cache that matters, in bytes.
const READ_BYTES: usize = 256 << 20;
const READ_RUNS: usize = 3;
const BARRIERS: usize = 20_000;

/// Some memory that is read to see how fast that goes.
pub(super) struct Memory(Vec<u64>);

impl Memory {
    pub(super) fn new() -> Self {
        // Not zeros, which the system might map to one page.
        Self((0..READ_BYTES as u64 / 8).collect())
    }

    /// Speed of reading with all of `threads`, in GB/s: the best of a few runs.
    pub(super) fn read_gb_s(&self, threads: usize) -> f64 {
        let Self(words) = self;
        let part = words.len().div_ceil(threads.max(1));
        let mut best = f64::INFINITY;
        for _ in 0..READ_RUNS {
            let start = Instant::now();
            thread::scope(|scope| {
                for words in words.chunks(part) {
                    scope.spawn(move || {
                        black_box(words.iter().fold(0u64, |sum, w| sum.wrapping_add(*w)))
                    });
                }
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        READ_BYTES as f64 / best / 1e9
    }
}

/// Time for two threads to meet once while both spin, in ns; `None` with fewer than two cores.
pub(super) fn barrier_ns() -> Option<f64> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return None;
    }
    let turn = AtomicUsize::new(0);
    let wait_for = |value| {
        while turn.load(Ordering::Acquire) != value {
            spin_loop();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..BARRIERS {
                wait_for(2 * round);
                turn.store(2 * round + 1, Ordering::Release);
            }
        });
        // The clock starts when the other thread runs.
        wait_for(1);
        let start = Instant::now();
        for round in 1..BARRIERS {
            turn.store(2 * round, Ordering::Release);
            wait_for(2 * round + 1);
        }
        Some(start.elapsed().as_secs_f64() * 1e9 / (BARRIERS - 1) as f64)
    })
}

/// Resident memory of this process but for `memory` in MB, where the system tells.
pub(super) fn rss_mb(memory: &Memory) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    let own = size_of_val(memory.0.as_slice());
    Some((kib * 1024.0 - own as f64) / 1e6)
}

//! How long passes take.

use std::time::Duration;

/// Length in tokens at which attention takes as long as the products with weights: what the native
/// engine shows, between 1 500 for Qwen3-Embedding-0.6B in int8 and 4 000 for akidb-mini in bf16.
const ATTENTION_TOKENS: u64 = 2048;

/// What an item takes, in tokens of a short one: `n + n² / ATTENTION_TOKENS`, as attention grows
/// with the square of the length.
pub(crate) fn cost(tokens: usize) -> u64 {
    let n = u64::try_from(tokens).unwrap_or(u64::MAX);
    n.saturating_add(n.saturating_mul(n) / ATTENTION_TOKENS)
}

/// Weight of a new observation: the last ten passes or so count.
const NEW: f64 = 0.1;

/// Seconds of a pass that has this weight. A shorter one has its part of it: what holds up a tiny pass
/// (another process, a page that is read in) makes it many times longer, and large ones hardly.
const WHOLE: f64 = 0.05;

/// A pass that was held up by something else says little: one observation counts at most so many
/// times more or less than what was expected.
const MOST_AT_ONCE: f64 = 4.0;

/// How long an engine's passes take: `slowdown * (fixed + per_cost * cost)`. The shape is timed by
/// [`Scheduler::warm_up`](crate::Scheduler::warm_up), the slowdown learned from every pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Seconds of a pass of nothing.
    fixed: f64,
    /// Seconds for each unit of cost.
    per_cost: f64,
    slowdown: f64,
}

impl Speed {
    /// From two timed passes, each its cost and its time, the smaller first.
    pub(crate) fn of(small: (u64, Duration), large: (u64, Duration)) -> Self {
        let (x0, y0) = (small.0 as f64, small.1.as_secs_f64());
        let (x1, y1) = (large.0.max(1) as f64, large.1.as_secs_f64().max(1e-6));
        // Noise may say that more takes less, or that nothing takes less than nothing.
        let slope = (y1 - y0) / (x1 - x0).max(1.0);
        let per_cost = slope.clamp(0.1 * y1 / x1, y1 / x1);
        Self {
            fixed: (y1 - per_cost * x1).max(0.0),
            per_cost,
            slowdown: 1.0,
        }
    }

    /// Takes a pass into account.
    pub(crate) fn learn(&mut self, cost: u64, took: Duration) {
        let shape = self.shape(cost);
        let new = NEW * (self.slowdown * shape / WHOLE).min(1.0);
        let seen = took.as_secs_f64() / shape;
        let seen = seen.clamp(self.slowdown / MOST_AT_ONCE, self.slowdown * MOST_AT_ONCE);
        self.slowdown = ((1.0 - new) * self.slowdown + new * seen).clamp(1e-3, 1e6);
    }

    /// How long a pass takes.
    pub(crate) fn pass(&self, cost: u64) -> Duration {
        seconds(self.slowdown * self.shape(cost))
    }

    /// What of a pass's time an item takes, when passes have `full` cost.
    pub(crate) fn share(&self, cost: u64, full: u64) -> Duration {
        let full = full.max(1);
        seconds(self.slowdown * self.shape(full) * cost as f64 / full as f64)
    }

    /// The cost of a pass that takes `time`.
    pub(crate) fn cost_within(&self, time: Duration) -> u64 {
        // Saturates.
        ((time.as_secs_f64() / self.slowdown - self.fixed).max(0.0) / self.per_cost) as u64
    }

    fn shape(&self, cost: u64) -> f64 {
        self.fixed + self.per_cost * cost as f64
    }
}

/// Bounded, so that sums of many don't overflow: 11 days.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn long_items_cost_more_than_their_tokens() {
        assert_eq!(cost(5), 5);
        assert_eq!(cost(2048), 2 * 2048);
        assert_eq!(cost(usize::MAX), u64::MAX);
    }

    #[test]
    fn two_passes_give_the_shape() {
        let speed = Speed::of((10, 20 * MS), (110, 120 * MS));
        assert_eq!(speed.pass(60), 70 * MS);
        assert_eq!(speed.cost_within(150 * MS), 140);
        assert_eq!(speed.cost_within(5 * MS), 0);
        // An item of a tenth of a full pass takes a tenth of its time.
        assert_eq!(speed.share(14, 140), 15 * MS);
    }

    #[test]
    fn odd_timings_give_a_usable_shape() {
        for (small, large) in [
            (90 * MS, 10 * MS),
            (Duration::ZERO, Duration::ZERO),
            (Duration::ZERO, 1000 * MS),
        ] {
            let speed = Speed::of((10, small), (110, large));
            assert!(speed.pass(1000) > speed.pass(10), "{speed:?}");
            assert!(speed.pass(u64::MAX) <= Duration::from_secs(1_000_000));
            assert!(speed.cost_within(1000 * MS) > 0);
        }
    }

    #[test]
    fn a_slower_machine_is_learned_and_one_odd_pass_is_not() {
        let mut speed = Speed::of((10, 20 * MS), (110, 120 * MS));
        speed.learn(90, 100_000 * MS);
        assert!(speed.pass(90) < 131 * MS, "{speed:?}");
        for _ in 0..100 {
            speed.learn(90, 200 * MS);
        }
        let pass = speed.pass(90);
        assert!(pass > 195 * MS && pass < 205 * MS, "{pass:?}");
    }

    #[test]
    fn tiny_passes_that_stall_say_nothing_of_large_ones() {
        // 0.1 ms and 0.01 ms for each token: a short item takes 0.15 ms, 10 000 tokens 100 ms.
        let mut speed = Speed::of((10, MS / 5), (110, 6 * MS / 5));
        for _ in 0..20 {
            speed.learn(5, 30 * MS);
        }
        assert!(speed.pass(10_000) < 110 * MS, "{speed:?}");
        // What lasts is learned from tiny passes, too.
        for _ in 0..20_000 {
            speed.learn(5, MS / 3);
        }
        assert!(speed.pass(10_000) > 190 * MS, "{speed:?}");
    }
}

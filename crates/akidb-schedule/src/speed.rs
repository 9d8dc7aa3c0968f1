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

/// Seconds of work that have this weight, less has its part of it: what holds up a tiny pass (another
/// process, a page that is read in) makes it many times longer, and large ones hardly.
const WHOLE: f64 = 0.05;

/// A pass that was held up by something else says little: one observation counts at most so many
/// times more or less than what was expected.
const MOST_AT_ONCE: f64 = 4.0;

/// A start is no longer than so many seconds, and work no more than so many times what was timed.
const MOST_LEARNED: f64 = 1e6;

/// After so many idle seconds, a third of what was learned is left: what slowed the machine down
/// may have gone.
const KEPT: f64 = 10.0;

/// Seconds of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    /// Of one of nothing.
    start: f64,
    /// For each unit of cost.
    per_cost: f64,
}

impl Shape {
    fn work(self, cost: u64) -> f64 {
        self.per_cost * cost as f64
    }

    fn pass(self, cost: u64) -> f64 {
        self.start + self.work(cost)
    }
}

/// How long an engine's passes take: a start, and so much for each unit of cost. Both are timed by
/// [`Scheduler::warm_up`](crate::Scheduler::warm_up), and learned from every pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    timed: Shape,
    learned: Shape,
}

impl Speed {
    /// From two timed passes, each its cost and its time, the smaller first.
    pub(crate) fn of(small: (u64, Duration), large: (u64, Duration)) -> Self {
        let (x0, y0) = (small.0 as f64, small.1.as_secs_f64());
        let (x1, y1) = (large.0.max(1) as f64, large.1.as_secs_f64().max(1e-6));
        // Noise may say that more takes less, or that nothing takes less than nothing.
        let slope = (y1 - y0) / (x1 - x0).max(1.0);
        let per_cost = slope.clamp(0.1 * y1 / x1, y1 / x1);
        let timed = Shape {
            start: (y1 - per_cost * x1).max(0.0),
            per_cost,
        };
        Self {
            timed,
            learned: timed,
        }
    }

    /// Takes a pass into account. The more it has worked, the more it says of the work; the rest is its
    /// start's. So what holds up tiny passes says nothing of large ones.
    pub(crate) fn learn(&mut self, cost: u64, took: Duration) {
        let work = self.learned.work(cost);
        let expected = (self.learned.start + work).max(1e-9);
        let seen = (took.as_secs_f64() / expected).clamp(1.0 / MOST_AT_ONCE, MOST_AT_ONCE);
        let more = (seen - 1.0) * expected;
        let of_work = (work / WHOLE).min(1.0);
        let times = (more / work.max(1e-9)).clamp(1.0 / MOST_AT_ONCE - 1.0, MOST_AT_ONCE - 1.0);
        let start = self.learned.start + NEW * (1.0 - of_work) * more;
        let per_cost = self.learned.per_cost * (1.0 + NEW * of_work * times);
        let timed = self.timed.per_cost;
        self.learned = Shape {
            start: start.clamp(0.0, MOST_LEARNED),
            per_cost: per_cost.clamp(timed / MOST_LEARNED, timed * MOST_LEARNED),
        };
    }

    /// Nothing has run for so long: what was learned goes back to what was timed.
    pub(crate) fn rest(&mut self, time: Duration) {
        let kept = (-time.as_secs_f64() / KEPT).exp();
        let between = |learned: f64, timed: f64| timed + (learned - timed) * kept;
        self.learned = Shape {
            start: between(self.learned.start, self.timed.start),
            per_cost: between(self.learned.per_cost, self.timed.per_cost),
        };
    }

    /// How long a pass takes.
    pub(crate) fn pass(&self, cost: u64) -> Duration {
        seconds(self.learned.pass(cost))
    }

    /// What of a pass's time an item takes, when passes have `full` cost.
    pub(crate) fn share(&self, cost: u64, full: u64) -> Duration {
        let full = full.max(1);
        seconds(self.learned.pass(full) * cost as f64 / full as f64)
    }

    /// What of a time as it was learned the engine takes at the speed that was timed.
    pub(crate) fn at_best(&self, learned: Duration, full: u64) -> Duration {
        let part = self.timed.pass(full) / self.learned.pass(full);
        seconds(learned.as_secs_f64() * part.min(1.0))
    }

    /// The cost of a pass that takes `time`. Work has half of it in any case: where the start takes
    /// more, fewer and larger passes are the better ones.
    pub(crate) fn cost_within(&self, time: Duration) -> u64 {
        let time = time.as_secs_f64();
        // Saturates.
        ((time - self.learned.start).max(time / 2.0) / self.learned.per_cost).round() as u64
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
        // The start alone takes longer.
        assert_eq!(speed.cost_within(6 * MS), 3);
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

    /// 0.1 ms and 0.01 ms for each token: a short item takes 0.15 ms, 10 000 tokens 100 ms.
    fn quick() -> Speed {
        Speed::of((10, MS / 5), (110, 6 * MS / 5))
    }

    #[test]
    fn tiny_passes_that_stall_say_nothing_of_large_ones() {
        let mut speed = quick();
        for _ in 0..10_000 {
            speed.learn(5, 30 * MS);
        }
        assert!(speed.pass(5) > 25 * MS, "{speed:?}");
        assert!(speed.pass(10_000) < 140 * MS, "{speed:?}");
        // A large request, in full passes.
        let full = speed.cost_within(150 * MS);
        assert!(speed.share(100_000, full) < 1400 * MS, "{speed:?}");
    }

    #[test]
    fn a_start_and_the_work_are_learned_from_passes_of_all_sizes() {
        let mut speed = quick();
        // Three times the start, twice the work.
        for _ in 0..2_000 {
            for cost in [5, 100, 1_000, 5_000, 10_000] {
                speed.learn(cost, 3 * MS / 10 + cost as u32 * MS / 50);
            }
        }
        for (cost, expected) in [(5, 400), (1_000, 20_300), (10_000, 200_300)] {
            let pass = speed.pass(cost).as_micros();
            assert!(pass * 10 > expected * 9, "{cost}: {pass} µs");
            assert!(pass * 10 < expected * 11, "{cost}: {pass} µs");
        }
    }

    #[test]
    fn what_was_learned_is_forgotten_while_nothing_runs() {
        let mut speed = quick();
        for _ in 0..200 {
            speed.learn(10_000, 800 * MS);
            speed.learn(5, 30 * MS);
        }
        let slow = speed.pass(10_000);
        assert!(slow > 600 * MS, "{speed:?}");
        let mut other = speed.clone();
        speed.rest(2000 * MS);
        let rested = speed.pass(10_000);
        assert!(rested < slow && rested > 300 * MS, "{rested:?}");
        // Several short rests are a long one.
        other.rest(500 * MS);
        other.rest(1500 * MS);
        assert!(other.pass(10_000).abs_diff(rested) < MS);
        speed.rest(Duration::from_secs(100));
        assert!(speed.pass(10_000) < 102 * MS, "{speed:?}");
        assert_eq!(quick().at_best(MS, 100), MS);
        let at_best = other.at_best(other.pass(10_000), 10_000);
        assert!(at_best.abs_diff(quick().pass(10_000)) < MS, "{at_best:?}");
    }
}

//! What was done in the last seconds.

use std::time::{Duration, Instant};

const SECONDS: u64 = 10;

/// Counts of the last ten seconds, by the second.
#[derive(Debug)]
pub(crate) struct Recent {
    start: Instant,
    /// The second, counted from `start`, and its count.
    seconds: [(u64, u64); SECONDS as usize],
}

impl Recent {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            seconds: [(0, 0); SECONDS as usize],
        }
    }

    pub(crate) fn add(&mut self, count: usize, now: Instant) {
        let second = self.second(now);
        let index = (second % SECONDS) as usize;
        if let Some((of, sum)) = self.seconds.get_mut(index) {
            if *of != second {
                (*of, *sum) = (second, 0);
            }
            *sum = sum.saturating_add(count as u64);
        }
    }

    /// How many a second, over the last ten seconds or since the start.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        let second = self.second(now);
        let recent = self.seconds.iter().filter(|(of, _)| of + SECONDS > second);
        let sum: u64 = recent.map(|(_, count)| count).sum();
        let since_start = now.saturating_duration_since(self.start);
        // The oldest second of the ten has only just begun to be left behind.
        let over = Duration::from_secs(SECONDS - 1)
            + Duration::from_nanos(u64::from(since_start.subsec_nanos()));
        sum as f64 / over.min(since_start).as_secs_f64().max(1.0)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ten_seconds_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut recent = Recent::new(start);
        assert_eq!(recent.per_second(start), 0.0);
        recent.add(100, at(500));
        assert_eq!(recent.per_second(at(500)), 100.0);
        assert_eq!(recent.per_second(at(2_000)), 50.0);
        recent.add(80, at(11_500));
        // From 2.0 to 11.5.
        assert_eq!(recent.per_second(at(11_500)), 80.0 / 9.5);
        assert_eq!(recent.per_second(at(60_000)), 0.0);
    }
}

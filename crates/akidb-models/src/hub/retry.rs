//! When to try again, and how long to wait before.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::HubOptions;
use crate::error::Error;

/// Longest pause that isn't asked for.
const LONGEST: Duration = Duration::from_secs(30);

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The same may work later.
    Passing {
        why: String,
        /// The pause that the server asks for.
        after: Option<Duration>,
    },
    /// It won't.
    Final(Error),
}

impl Failure {
    pub(crate) fn passing(why: impl ToString) -> Self {
        Self::Passing {
            why: why.to_string(),
            after: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Counts failures and says how long to wait after each.
pub(crate) struct Pauses<'o> {
    options: &'o HubOptions,
    failures: u32,
}

impl<'o> Pauses<'o> {
    pub(crate) fn new(options: &'o HubOptions) -> Self {
        Self {
            options,
            failures: 0,
        }
    }

    /// Something worked: failures are counted anew.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next attempt at `what`, and the reason for it.
    pub(crate) fn after(
        &mut self,
        failure: Failure,
        what: &str,
    ) -> Result<(Duration, String), Error> {
        let (why, after) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { why, after } => (why, after),
        };
        self.failures += 1;
        if let Some(after) = after
            && after > self.options.longest_pause
        {
            return Err(Error::Busy {
                what: what.to_owned(),
                after,
            });
        }
        if self.failures >= self.options.attempts {
            return Err(Error::Network {
                what: what.to_owned(),
                why,
                attempts: self.failures,
            });
        }
        let doublings = (self.failures - 1).min(16);
        let pause = self
            .options
            .pause
            .saturating_mul(1 << doublings)
            .min(LONGEST);
        // Many clients that failed together should not come back together.
        let jitter = RandomState::new().hash_one(self.failures) % 256;
        let jitter = pause / 2 * u32::try_from(jitter).unwrap_or_default() / 256;
        let pause = pause.saturating_sub(jitter);
        Ok((after.map_or(pause, |after| after.max(pause)), why))
    }
}

/// The pause that a `Retry-After` header asks for: seconds, or a date.
///
/// A date is compared with this machine's clock. One in the past is no pause; when the clock is far
/// off, the pause is too long for [`Pauses::after`] to accept.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let date = seconds_since_1970(value.trim())?;
    Some(Duration::from_secs(date.saturating_sub(now)))
}

/// Of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn seconds_since_1970(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = date.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let mut next = || parts.next();
    let day: u64 = next()?.parse().ok()?;
    let month = next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let year: u64 = next()?.parse().ok()?;
    let [hours, minutes, seconds]: [u64; 3] = [
        next()?.parse().ok()?,
        next()?.parse().ok()?,
        next()?.parse().ok()?,
    ];
    let sound = (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && hours < 24
        && minutes < 60
        && seconds <= 60;
    if !sound || next() != Some("GMT") {
        return None;
    }
    // Days of the Gregorian calendar, with years that start in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_server_names_a_pause_in_seconds_or_as_a_date() {
        let pause = |value, now| retry_after(value, at(now)).map(|d| d.as_secs());
        assert_eq!(pause("120", 0), Some(120));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(pause(date, 784_111_777 - 30), Some(30));
        assert_eq!(
            pause("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            Some(0)
        );
        assert_eq!(pause("Thu, 01 Jan 1970 00:00:00 GMT", 5), Some(0));
        for wrong in [
            "",
            "soon",
            "-5",
            "Sun, 06 Nov 1994",
            "Sun, 99 Foo 1994 08:49:37 GMT",
        ] {
            assert_eq!(pause(wrong, 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_jumps_makes_no_endless_pause() {
        let options = HubOptions::default();
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        // The clock is back in 1970: the date is 24 years away.
        let after = retry_after(date, at(0));
        let failure = Failure::Passing {
            why: "HTTP 503".to_owned(),
            after,
        };
        let error = Pauses::new(&options).after(failure, "x").unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        // The clock is far in the future: no pause beyond the usual one.
        assert_eq!(retry_after(date, at(4_000_000_000)), Some(Duration::ZERO));
        assert_eq!(retry_after(date, UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_end() {
        let options = HubOptions {
            attempts: 12,
            ..HubOptions::default()
        };
        let mut pauses = Pauses::new(&options);
        let mut longest = Duration::ZERO;
        for _ in 0..11 {
            let (pause, why) = pauses.after(Failure::passing("cut"), "x").unwrap();
            assert_eq!(why, "cut");
            assert!(pause >= options.pause / 2 && pause <= LONGEST, "{pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest >= LONGEST / 2, "{longest:?}");
        let error = pauses.after(Failure::passing("cut"), "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x could not be fetched: cut (12 attempts)"
        );
    }
}

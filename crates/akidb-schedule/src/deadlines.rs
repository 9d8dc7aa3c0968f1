//! When time is up, without an async runtime.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::oneshot;

/// Ends what takes too long, from a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Deadlines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

/// A time, and a number that tells equal times apart.
type Key = (Instant, u64);

#[derive(Debug, Default)]
struct Alarms {
    set: BTreeMap<Key, oneshot::Sender<()>>,
    next: u64,
    /// Until when the thread sleeps; `None`: until it is woken.
    sleeps_until: Option<Instant>,
    stopped: bool,
}

impl Deadlines {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            alarms: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("akidb-deadlines".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self(shared))
    }

    /// What `work` gives, or `None` where it has given nothing by the deadline.
    pub async fn by<F: Future>(&self, deadline: Instant, work: F) -> Option<F::Output> {
        if deadline <= Instant::now() {
            return None;
        }
        let (alarm, mut rings) = oneshot::channel();
        let _set = self.set(deadline, alarm);
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => pin!(&mut rings).poll(cx).map(|_| None),
        })
        .await
    }

    fn set(&self, time: Instant, alarm: oneshot::Sender<()>) -> Set<'_> {
        let mut alarms = self.0.alarms();
        let key = (time, alarms.next);
        alarms.next += 1;
        alarms.set.insert(key, alarm);
        // Calls mostly have the same time: the later ones are no reason to wake the thread.
        if alarms.sleeps_until.is_none_or(|until| time < until) {
            alarms.sleeps_until = Some(time);
            self.0.changed.notify_one();
        }
        Set(&self.0, key)
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.0.alarms().stopped = true;
        self.0.changed.notify_one();
    }
}

/// Takes an alarm back.
struct Set<'a>(&'a Shared, Key);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        let Self(shared, key) = self;
        shared.alarms().set.remove(key);
    }
}

impl Shared {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut alarms = self.alarms();
        while !alarms.stopped {
            let now = Instant::now();
            let later = alarms.set.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut alarms.set, later);
            if !due.is_empty() {
                // Who is woken may set another.
                drop(alarms);
                for alarm in due.into_values() {
                    let _ = alarm.send(());
                }
                alarms = self.alarms();
                continue;
            }
            let first = alarms.set.first_key_value().map(|((time, _), _)| *time);
            alarms.sleeps_until = first;
            alarms = match first {
                Some(time) => {
                    let wait = self.changed.wait_timeout(alarms, time - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let wait = self.changed.wait(alarms);
                    wait.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_late_is_ended_and_what_is_not_is_given() {
        let deadlines = Deadlines::start().unwrap();
        let after = |ms| Instant::now() + Duration::from_millis(ms);
        assert_eq!(deadlines.by(after(60_000), ready(1)).await, Some(1));
        // Sooner than what the thread sleeps for, one after the other, and in any order.
        for times in [[1, 2], [2, 1]] {
            let [first, second] = times.map(|ms| deadlines.by(after(ms), pending::<()>()));
            assert_eq!(tokio::join!(first, second), (None, None));
        }
        assert_eq!(deadlines.by(Instant::now(), ready(1)).await, None);
        assert!(deadlines.0.alarms().set.is_empty());
    }

    #[tokio::test]
    async fn the_thread_ends_with_its_owner() {
        let deadlines = Deadlines::start().unwrap();
        let shared = Arc::downgrade(&deadlines.0);
        drop(deadlines);
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

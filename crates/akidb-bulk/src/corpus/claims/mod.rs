//! Who works on a unit: a file that one process makes and keeps alive.
//!
//! Machines' clocks are never compared. A claim tells that its owner is alive by changing; who waits for
//! it measures, with its own monotonic clock, for how long it hasn't.

mod local;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::process::Process;

pub(super) use local::LocalClaims;

/// Where claims are.
pub(super) const CLAIMS: &str = "_run/claims";

/// How often a claim changes.
pub(super) const BEAT: Duration = Duration::from_secs(10);

/// A claim that hasn't changed for so long is nobody's.
pub(super) const EXPIRY: Duration = Duration::from_secs(60);

/// Tries to take a claim that others take and let go.
pub(super) const TRIES: usize = 8;

/// The claims of a folder.
pub(super) trait Claims: Send + Sync {
    /// Takes the claim to a unit, if nobody has it. `abandoned` is told the token of an owner that is
    /// gone.
    fn attempt(&self, unit: &str, abandoned: &dyn Fn(&str)) -> io::Result<Attempt>;
}

/// What came of trying.
pub(super) enum Attempt {
    /// This process has it.
    Taken(Claim),
    /// Another one has it, and is alive as far as is known.
    Held,
}

/// A claim of this process, until it is dropped.
pub(super) type Claim = Box<dyn Claimed>;

/// What lets go of a claim when it is dropped.
pub(super) trait Claimed: Send {}

/// A claim that can be changed.
pub(super) trait Beat: Send + Sync {
    /// Writes over it, as far as other machines see it. A beat that is lost is made up for by the next
    /// one.
    fn beat(&self, content: &[u8]);
}

/// What others' claims said, and since when.
pub(super) struct Seen {
    expiry: Duration,
    claims: Mutex<HashMap<String, (Vec<u8>, Instant)>>,
}

impl Seen {
    pub(super) fn new(expiry: Duration) -> Self {
        Self {
            expiry,
            claims: Mutex::default(),
        }
    }

    /// Whether a claim has said the same for too long.
    pub(super) fn is_expired(&self, unit: &str, content: &[u8]) -> bool {
        let mut seen = lock(&self.claims);
        match seen.get(unit) {
            Some((known, since)) if known == content => since.elapsed() >= self.expiry,
            _ => {
                seen.insert(unit.to_owned(), (content.to_owned(), Instant::now()));
                false
            }
        }
    }

    pub(super) fn forget(&self, unit: &str) {
        lock(&self.claims).remove(unit);
    }
}

/// Keeps the claims of this process alive.
pub(super) struct Heart {
    pub(super) held: Arc<Held>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub(super) struct Held {
    /// By their units.
    pub(super) claims: Mutex<HashMap<String, Arc<dyn Beat>>>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Heart {
    pub(super) fn start(process: Process) -> io::Result<Self> {
        let held = Arc::new(Held::default());
        let of_thread = Arc::clone(&held);
        let thread = thread::Builder::new().name("akidb-claims".to_owned());
        let thread = thread.spawn(move || of_thread.beat(&process))?;
        Ok(Self {
            held,
            thread: Some(thread),
        })
    }
}

impl Held {
    fn beat(&self, process: &Process) {
        let mut beats = 0;
        loop {
            let waited = self
                .end
                .wait_timeout_while(lock(&self.ended), BEAT, |ended| !*ended);
            let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *ended {
                return;
            }
            drop(ended);
            beats += 1;
            self.change(&process.claim(beats));
        }
    }

    /// Writes over all claims.
    pub(super) fn change(&self, content: &[u8]) {
        let claims: Vec<Arc<dyn Beat>> = lock(&self.claims).values().cloned().collect();
        for claim in claims {
            claim.beat(content);
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        *lock(&self.held.ended) = true;
        self.held.end.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

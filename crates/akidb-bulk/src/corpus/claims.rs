//! Who works on a unit: a file that one process makes and keeps alive.
//!
//! Machines' clocks are never compared. A claim tells that its owner is alive by changing; who waits for
//! it measures, with its own monotonic clock, for how long it hasn't. On the owner's own machine a lock
//! on the file says it at once: the system takes it from a process that ends, however it ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::Builder;

use super::process::Process;

/// How often a claim changes.
const BEAT: Duration = Duration::from_secs(10);

/// A claim that hasn't changed for so long is nobody's.
const EXPIRY: Duration = Duration::from_secs(60);

/// Tries to take a claim that others take and let go.
const TRIES: usize = 8;

/// The claims of a folder.
pub(super) struct Claims {
    folder: PathBuf,
    process: Process,
    expiry: Duration,
    /// What others' claims said, and since when.
    seen: Mutex<HashMap<String, (Vec<u8>, Instant)>>,
    heart: Heart,
}

/// What came of trying.
pub(super) enum Attempt {
    /// This process has it.
    Taken(Claim),
    /// Another one has it, and is alive as far as is known.
    Held,
}

/// A claim of this process, until it is dropped.
pub(super) struct Claim {
    path: PathBuf,
    token: String,
    file: Arc<File>,
    held: Arc<Held>,
}

impl Claims {
    /// Those in `folder`, which is there.
    pub(super) fn new(folder: PathBuf, process: Process) -> io::Result<Self> {
        Self::with_times(folder, process, BEAT, EXPIRY)
    }

    fn with_times(
        folder: PathBuf,
        process: Process,
        beat: Duration,
        expiry: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            heart: Heart::start(process.clone(), beat)?,
            folder,
            process,
            expiry,
            seen: Mutex::default(),
        })
    }

    /// Takes the claim to a unit, if nobody has it. `abandoned` is told the token of an owner that is
    /// gone.
    pub(super) fn attempt(&self, unit: &str, abandoned: impl Fn(&str)) -> io::Result<Attempt> {
        let path = self.folder.join(unit);
        for _ in 0..TRIES {
            let mut temporary = Builder::new()
                .prefix(".")
                .suffix(".tmp")
                .tempfile_in(&self.folder)?;
            temporary.write_all(&self.process.claim(0))?;
            // Where a file system has no locks, nobody's lock is looked at.
            let _ = temporary.as_file().lock();
            // With all its content at once, where the file system has links or a rename that replaces
            // nothing.
            match temporary.persist_noclobber(&path) {
                Ok(file) => {
                    lock(&self.seen).remove(unit);
                    let claim = Claim {
                        path,
                        token: self.process.token.clone(),
                        file: Arc::new(file),
                        held: Arc::clone(&self.heart.held),
                    };
                    lock(&claim.held.claims).insert(claim.path.clone(), Arc::clone(&claim.file));
                    return Ok(Attempt::Taken(claim));
                }
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.error),
            }
            let content = match fs::read(&path) {
                Ok(content) => content,
                // It was let go meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if !self.is_abandoned(unit, &path, &content) {
                return Ok(Attempt::Held);
            }
            if !self.take_away(&path, &content)? {
                return Ok(Attempt::Held);
            }
            if let Some(token) = Process::token_of(&content) {
                abandoned(token);
            }
        }
        Ok(Attempt::Held)
    }

    /// Whether a claim's owner is gone.
    fn is_abandoned(&self, unit: &str, path: &Path, content: &[u8]) -> bool {
        if self.process.is_here(content)
            && let Ok(file) = File::open(path)
            && file.try_lock().is_ok()
        {
            return true;
        }
        let mut seen = lock(&self.seen);
        match seen.get(unit) {
            Some((known, since)) if known == content => since.elapsed() >= self.expiry,
            _ => {
                seen.insert(unit.to_owned(), (content.to_owned(), Instant::now()));
                false
            }
        }
    }

    /// Takes a claim that is nobody's out of the way; false when it was another's already.
    fn take_away(&self, path: &Path, content: &[u8]) -> io::Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self
            .folder
            .join(format!(".{name}.{}.gone", self.process.token));
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        }
        let was_meant = fs::read(&aside).is_ok_and(|moved| moved == content);
        if !was_meant {
            // Somebody was faster, and this is the new claim: back with it, unless there is a newer one.
            let _ = fs::hard_link(&aside, path);
        }
        let _ = fs::remove_file(&aside);
        Ok(was_meant)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.held.claims).remove(&self.path);
        // It may have been taken for abandoned.
        let ours = fs::read(&self.path).is_ok_and(|content| {
            Process::token_of(&content).is_some_and(|token| token == self.token)
        });
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Keeps the claims of this process alive.
struct Heart {
    held: Arc<Held>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Held {
    claims: Mutex<HashMap<PathBuf, Arc<File>>>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Heart {
    fn start(process: Process, beat: Duration) -> io::Result<Self> {
        let held = Arc::new(Held::default());
        let of_thread = Arc::clone(&held);
        let thread = thread::Builder::new().name("akidb-claims".to_owned());
        let thread = thread.spawn(move || of_thread.beat(&process, beat))?;
        Ok(Self {
            held,
            thread: Some(thread),
        })
    }
}

impl Held {
    fn beat(&self, process: &Process, beat: Duration) {
        let mut beats = 0;
        let mut ended = lock(&self.ended);
        while !*ended {
            let waited = self.end.wait_timeout(ended, beat);
            (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
            beats += 1;
            let claims: Vec<Arc<File>> = lock(&self.claims).values().cloned().collect();
            for claim in claims {
                // A beat that is lost is made up for by the next one.
                let _ = change(&claim, &process.claim(beats));
            }
        }
    }
}

/// Writes over a claim, as far as other machines see it.
fn change(mut claim: &File, content: &[u8]) -> io::Result<()> {
    claim.seek(SeekFrom::Start(0))?;
    claim.write_all(content)?;
    claim.sync_data()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn process(token: &str, host: &str) -> Process {
        Process {
            token: format!("{token:0>16}"),
            host: host.to_owned(),
            pid: 7,
        }
    }

    fn claims(at: &Path, token: &str, host: &str, beat: Duration, expiry: Duration) -> Claims {
        Claims::with_times(at.to_owned(), process(token, host), beat, expiry).unwrap()
    }

    fn taken(claims: &Claims) -> Option<Claim> {
        match claims.attempt("u", |_| {}).unwrap() {
            Attempt::Taken(claim) => Some(claim),
            Attempt::Held => None,
        }
    }

    #[test]
    fn one_of_many_has_it_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..8)
            .map(|n| claims(dir.path(), &n.to_string(), "h", BEAT, EXPIRY))
            .collect();
        let mut held: Vec<_> = thread::scope(|scope| {
            let attempts: Vec<_> = all.iter().map(|c| scope.spawn(move || taken(c))).collect();
            attempts
                .into_iter()
                .filter_map(|a| a.join().unwrap())
                .collect()
        });
        assert_eq!(held.len(), 1);
        held.clear();
        assert!(taken(&all[3]).is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn on_one_machine_a_claim_dies_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        // Written by a process that is gone: nobody has the lock.
        fs::write(dir.path().join("u"), process("a", "h").claim(3)).unwrap();
        let other = claims(dir.path(), "b", "elsewhere", BEAT, EXPIRY);
        assert!(taken(&other).is_none());
        let here = claims(dir.path(), "c", "h", BEAT, EXPIRY);
        let gone = Mutex::new(String::new());
        let attempt = here
            .attempt("u", |token| gone.lock().unwrap().push_str(token))
            .unwrap();
        assert!(matches!(attempt, Attempt::Taken(_)));
        assert_eq!(*gone.lock().unwrap(), process("a", "h").token);
    }

    #[test]
    fn elsewhere_a_claim_that_changes_lives_and_one_that_does_not_expires() {
        let dir = tempfile::tempdir().unwrap();
        let slow = claims(dir.path(), "a", "h", SHORT, EXPIRY);
        let other = claims(dir.path(), "b", "elsewhere", BEAT, SHORT * 10);
        let claim = taken(&slow).unwrap();
        // As long as it beats it is held, however long that takes.
        for _ in 0..30 {
            assert!(taken(&other).is_none());
            thread::sleep(SHORT);
        }
        // It beats no more: its process stands still.
        lock(&slow.heart.held.claims).clear();
        let start = Instant::now();
        let second = loop {
            match taken(&other) {
                Some(claim) => break claim,
                None if start.elapsed() > Duration::from_secs(20) => panic!("it never expires"),
                None => thread::sleep(SHORT),
            }
        };
        // The first one wakes up, and does no harm to the second one's.
        drop(claim);
        assert!(taken(&slow).is_none());
        drop(second);
        assert!(taken(&slow).is_some());
    }

    #[test]
    fn a_claim_without_content_expires_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("u"), "").unwrap();
        let claims = claims(dir.path(), "a", "h", BEAT, Duration::ZERO);
        assert!(taken(&claims).is_none());
        assert!(taken(&claims).is_some());
    }
}

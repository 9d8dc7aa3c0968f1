//! Claims as files of a folder. On the owner's own machine a lock on the file tells at once that it is
//! gone: the system takes it from a process that ends, however it ends.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::Builder;

use super::{Attempt, Beat, Claimed, Claims, EXPIRY, Heart, Held, Seen, TRIES, lock};
use crate::corpus::process::Process;

/// The claims in a folder of this machine, or of one that is mounted.
pub(in crate::corpus) struct LocalClaims {
    folder: PathBuf,
    process: Process,
    seen: Seen,
    heart: Heart,
}

/// A claim of this process, until it is dropped.
struct LocalClaim {
    unit: String,
    path: PathBuf,
    token: String,
    held: Arc<Held>,
}

impl LocalClaims {
    /// Those in `folder`, which is there.
    pub(in crate::corpus) fn new(folder: PathBuf, process: Process) -> io::Result<Self> {
        Self::with_expiry(folder, process, EXPIRY)
    }

    fn with_expiry(folder: PathBuf, process: Process, expiry: Duration) -> io::Result<Self> {
        Ok(Self {
            heart: Heart::start(process.clone())?,
            folder,
            process,
            seen: Seen::new(expiry),
        })
    }

    /// Whether a claim's owner is gone.
    fn is_abandoned(&self, unit: &str, path: &Path, content: &[u8]) -> bool {
        if self.process.is_here(content)
            && let Ok(file) = File::open(path)
            && file.try_lock().is_ok()
        {
            return true;
        }
        self.seen.is_expired(unit, content)
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

impl Claims for LocalClaims {
    fn attempt(&self, unit: &str, abandoned: &dyn Fn(&str)) -> io::Result<Attempt> {
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
                    self.seen.forget(unit);
                    let claim = LocalClaim {
                        unit: unit.to_owned(),
                        path,
                        token: self.process.token.clone(),
                        held: Arc::clone(&self.heart.held),
                    };
                    lock(&claim.held.claims).insert(unit.to_owned(), Arc::new(file));
                    return Ok(Attempt::Taken(Box::new(claim)));
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
}

impl Claimed for LocalClaim {}

impl Drop for LocalClaim {
    fn drop(&mut self) {
        lock(&self.held.claims).remove(&self.unit);
        // It may have been taken for abandoned.
        let ours = fs::read(&self.path).is_ok_and(|content| {
            Process::token_of(&content).is_some_and(|token| token == self.token)
        });
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Beat for File {
    fn beat(&self, content: &[u8]) {
        let mut file = self;
        let write = |file: &mut &Self| -> io::Result<()> {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(content)?;
            file.sync_data()
        };
        let _ = write(&mut file);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::corpus::claims::Claim;

    fn process(token: &str, host: &str) -> Process {
        Process {
            token: format!("{token:0>16}"),
            host: host.to_owned(),
            pid: 7,
        }
    }

    fn claims(at: &Path, token: &str, host: &str, expiry: Duration) -> LocalClaims {
        LocalClaims::with_expiry(at.to_owned(), process(token, host), expiry).unwrap()
    }

    fn taken(claims: &LocalClaims) -> Option<Claim> {
        match claims.attempt("u", &|_| {}).unwrap() {
            Attempt::Taken(claim) => Some(claim),
            Attempt::Held => None,
        }
    }

    #[test]
    fn one_of_many_has_it_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..8)
            .map(|n| claims(dir.path(), &n.to_string(), "h", EXPIRY))
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
        let other = claims(dir.path(), "b", "elsewhere", EXPIRY);
        assert!(taken(&other).is_none());
        let here = claims(dir.path(), "c", "h", EXPIRY);
        let gone = Mutex::new(String::new());
        let attempt = here
            .attempt("u", &|token| gone.lock().unwrap().push_str(token))
            .unwrap();
        assert!(matches!(attempt, Attempt::Taken(_)));
        assert_eq!(*gone.lock().unwrap(), process("a", "h").token);
    }

    #[test]
    fn elsewhere_a_claim_that_changes_lives_and_one_that_does_not_expires() {
        let dir = tempfile::tempdir().unwrap();
        let slow = claims(dir.path(), "a", "h", EXPIRY);
        let other = claims(dir.path(), "b", "elsewhere", Duration::ZERO);
        let claim = taken(&slow).unwrap();
        // As long as it beats it is held, however long that takes.
        for beat in 1..30 {
            slow.heart.held.change(&slow.process.claim(beat));
            assert!(taken(&other).is_none());
        }
        // It beats no more: its process stands still.
        lock(&slow.heart.held.claims).clear();
        let second = taken(&other).or_else(|| taken(&other)).unwrap();
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
        let claims = claims(dir.path(), "a", "h", Duration::ZERO);
        assert!(taken(&claims).is_none());
        assert!(taken(&claims).is_some());
    }
}

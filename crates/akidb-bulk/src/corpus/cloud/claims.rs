//! Claims as objects: made if there is none, changed if they are what they were.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode, PutResult, UpdateVersion};

use super::Location;
use crate::corpus::claims::{
    Attempt, Beat, CLAIMS, Claimed, Claims, EXPIRY, Heart, Held, Seen, TRIES, lock,
};
use crate::corpus::process::{Process, random};

/// The claims of a folder in an object store.
pub(super) struct ObjectClaims {
    folder: Location,
    process: Process,
    seen: Seen,
    heart: Heart,
}

/// A claim of this process, until it is dropped.
struct ObjectClaim {
    unit: String,
    object: Arc<ClaimObject>,
    token: String,
    held: Arc<Held>,
}

/// The claim as it was last written.
struct ClaimObject {
    location: Location,
    version: Mutex<UpdateVersion>,
}

impl ObjectClaims {
    pub(super) fn new(folder: &Location, process: Process) -> io::Result<Self> {
        Self::with_expiry(folder, process, EXPIRY)
    }

    fn with_expiry(folder: &Location, process: Process, expiry: Duration) -> io::Result<Self> {
        Ok(Self {
            folder: folder.join(CLAIMS),
            heart: Heart::start(process.clone())?,
            process,
            seen: Seen::new(expiry),
        })
    }

    fn taken(&self, unit: &str, location: Location, put: PutResult) -> Attempt {
        self.seen.forget(unit);
        let object = Arc::new(ClaimObject {
            location,
            version: Mutex::new(put.into()),
        });
        let held = Arc::clone(&self.heart.held);
        let beats: Arc<dyn Beat> = object.clone();
        lock(&held.claims).insert(unit.to_owned(), beats);
        Attempt::Taken(Box::new(ObjectClaim {
            unit: unit.to_owned(),
            object,
            token: self.process.token.clone(),
            held,
        }))
    }
}

impl Claims for ObjectClaims {
    fn attempt(&self, unit: &str, _: &dyn Fn(&str)) -> io::Result<Attempt> {
        let location = self.folder.join(unit);
        // No two attempts say the same: an answer that was lost is known again.
        let content = self.process.claim(random());
        for _ in 0..TRIES {
            match put(&location, &content, PutMode::Create) {
                Ok(put) => return Ok(self.taken(unit, location, put)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let (version, found) = match get(&location) {
                Ok(found) => found,
                // It was let go meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_ours = found == content;
            if !is_ours && !self.seen.is_expired(unit, &found) {
                return Ok(Attempt::Held);
            }
            // From one owner to the next, unless another process is faster or the owner lives.
            match put(&location, &content, PutMode::Update(version)) {
                Ok(put) => return Ok(self.taken(unit, location, put)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Attempt::Held)
    }
}

impl Beat for ClaimObject {
    fn beat(&self, content: &[u8]) {
        let mut version = lock(&self.version);
        if let Ok(put) = put(&self.location, content, PutMode::Update(version.clone())) {
            *version = put.into();
        }
    }
}

impl Claimed for ObjectClaim {}

impl Drop for ObjectClaim {
    fn drop(&mut self) {
        lock(&self.held.claims).remove(&self.unit);
        // After the last beat. It may have been taken for abandoned.
        let _version = lock(&self.object.version);
        let location = &self.object.location;
        let ours = get(location).is_ok_and(|(_, content)| {
            Process::token_of(&content).is_some_and(|token| token == self.token)
        });
        if ours {
            let _ = location.wait(location.store.delete(&location.key));
        }
    }
}

fn put(location: &Location, content: &[u8], mode: PutMode) -> io::Result<PutResult> {
    location.put(&Bytes::copy_from_slice(content), &mode).0
}

fn get(location: &Location) -> io::Result<(UpdateVersion, Vec<u8>)> {
    location.wait(async {
        let found = location.store.get(&location.key).await?;
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        Ok((version, found.bytes().await?.to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::corpus::claims::Claim;

    fn claims(folder: &Location, expiry: Duration) -> ObjectClaims {
        ObjectClaims::with_expiry(folder, Process::this(), expiry).unwrap()
    }

    fn taken(claims: &ObjectClaims) -> Option<Claim> {
        match claims.attempt("u", &|_| {}).unwrap() {
            Attempt::Taken(claim) => Some(claim),
            Attempt::Held => None,
        }
    }

    #[test]
    fn one_of_many_has_it_until_it_lets_go() {
        let folder = Location::in_memory();
        let all: Vec<_> = (0..8).map(|_| claims(&folder, EXPIRY)).collect();
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
    }

    #[test]
    fn a_claim_that_changes_lives_and_one_that_does_not_expires() {
        let folder = Location::in_memory();
        let slow = claims(&folder, EXPIRY);
        let other = claims(&folder, Duration::ZERO);
        let claim = taken(&slow).unwrap();
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
}

//! Fetching one file: in parallel parts, hashed while they arrive, tried again where that may help.

mod part;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::event::{Event, Events};
use crate::hash::{BUFFER_BYTES, Hasher, Hashes};
use crate::hub::{Body, Checksum, Failure, Http, HubOptions, Pauses, RemoteFile};

pub(crate) use part::{Part, already_there};

/// How often a file is fetched whose checksum doesn't agree.
const CHECKSUM_ATTEMPTS: u32 = 3;

/// From so many bytes on, an attempt that failed has got further.
const PROGRESS_BYTES: u64 = 16 << 10;

/// What fetching a file needs.
pub(crate) struct Download<'a> {
    pub(crate) http: &'a Http,
    pub(crate) options: &'a HubOptions,
    pub(crate) file: &'a RemoteFile,
    pub(crate) events: Events<'a>,
}

/// What the threads that fetch a file share.
struct Shared {
    part: Mutex<Part>,
    /// Signalled when more bytes are there, or no more will come.
    changed: Condvar,
    /// Segments that nobody fetches yet, last first.
    queue: Mutex<Vec<usize>>,
    /// Where the hub sent the last request for this file on to.
    location: Mutex<Option<String>>,
    /// The first entity tag, where it says nothing of the checksum.
    etag: Mutex<Option<String>>,
    /// The server gives whole files only.
    whole: AtomicBool,
    failed: Mutex<Option<Error>>,
    stopped: AtomicBool,
}

/// Tells those who wait that one of the threads has ended, and ends the others unless it ended well.
struct End<'a> {
    shared: &'a Shared,
    well: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if !self.well {
            self.shared.stopped.store(true, Ordering::Relaxed);
        }
        let _part = lock(&self.shared.part);
        self.shared.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value is set in one step: a thread that ended early leaves none half set.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Download<'_> {
    /// Fetches the file to `to`, or goes on with what is there, and gives its checksums.
    pub(crate) fn run(&self, to: &Path) -> Result<(PathBuf, Hashes), Error> {
        for attempt in 1..=CHECKSUM_ATTEMPTS {
            let part = Part::open(to, self.file.size, self.options.segment_bytes)?;
            let before = part.total();
            (self.events)(Event::Started {
                file: &self.file.path,
                size: self.file.size,
                already: before,
            });
            let (mut part, hashes) = self.fetch(part)?;
            let Err(found) = self.file.checksum.compare(&hashes) else {
                return Ok((part.finish(), hashes));
            };
            part.discard()?;
            if attempt == CHECKSUM_ATTEMPTS {
                return Err(Error::Checksum {
                    file: self.file.path.clone(),
                    expected: self.file.checksum.to_string(),
                    found,
                    attempts: attempt,
                });
            }
            (self.events)(Event::Again {
                what: self.file.path.as_str(),
                why: "its checksum does not agree",
                pause: Duration::ZERO,
            });
        }
        Err(Error::Changed {
            file: self.file.path.clone(),
        })
    }

    fn fetch(&self, part: Part) -> Result<(Part, Hashes), Error> {
        let mut queue: Vec<usize> = (0..part.segments())
            .filter(|segment| part.missing(*segment).is_some())
            .collect();
        queue.reverse();
        let workers = queue.len().min(self.options.connections.max(1));
        let shared = Shared {
            part: Mutex::new(part),
            changed: Condvar::new(),
            queue: Mutex::new(queue),
            location: Mutex::new(None),
            etag: Mutex::new(None),
            whole: AtomicBool::new(false),
            failed: Mutex::new(None),
            stopped: AtomicBool::new(false),
        };
        let hashes = std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let mut end = End {
                        shared: &shared,
                        well: false,
                    };
                    match self.work(&shared) {
                        Ok(()) => end.well = true,
                        Err(error) => {
                            lock(&shared.failed).get_or_insert(error);
                        }
                    }
                });
            }
            let hashes = self.hash(&shared);
            // Without its hash the file is of no use.
            shared.stopped.store(true, Ordering::Relaxed);
            hashes
        });
        let mut part = shared
            .part
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let failed = shared
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            if matches!(error, Error::Changed { .. }) {
                part.discard()?;
            }
            return Err(error);
        }
        match hashes? {
            Some(hashes) => Ok((part, hashes)),
            None => self.fetch_whole(part),
        }
    }

    /// Hashes the file in order, as its bytes arrive. `None` when they don't arrive in this way.
    fn hash(&self, shared: &Shared) -> Result<Option<Hashes>, Error> {
        let path = lock(&shared.part).path().to_owned();
        let mut file = File::open(&path).map_err(Error::read(&path))?;
        let mut hasher = self.hasher();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut at = 0;
        while at < self.file.size {
            let mut part = lock(&shared.part);
            while part.frontier() <= at {
                let stopped = shared.stopped.load(Ordering::Relaxed);
                if stopped || shared.whole.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let wait = Duration::from_millis(200);
                let waited = shared.changed.wait_timeout(part, wait);
                part = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let there = part.frontier();
            drop(part);
            while at < there {
                let wanted = buffer
                    .len()
                    .min(usize::try_from(there - at).unwrap_or(usize::MAX));
                let bytes = buffer.get_mut(..wanted).unwrap_or_default();
                file.read_exact(bytes).map_err(Error::read(&path))?;
                hasher.update(bytes);
                at += wanted as u64;
            }
        }
        Ok(Some(hasher.finish()))
    }

    fn hasher(&self) -> Hasher {
        let git = matches!(self.file.checksum, Checksum::Git(_));
        Hasher::new(self.file.size, git)
    }

    /// One thread's work: segment after segment.
    fn work(&self, shared: &Shared) -> Result<(), Error> {
        let path = lock(&shared.part).path().to_owned();
        let mut file = File::options()
            .write(true)
            .open(&path)
            .map_err(Error::write(&path))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut pauses = Pauses::new(self.options);
        loop {
            let Some(segment) = lock(&shared.queue).pop() else {
                return Ok(());
            };
            loop {
                let missing = lock(&shared.part).missing(segment);
                let Some(range) = missing else {
                    break;
                };
                let ended = || {
                    shared.stopped.load(Ordering::Relaxed) || shared.whole.load(Ordering::Relaxed)
                };
                if ended() {
                    return Ok(());
                }
                let mut arrived = 0;
                let result = self.segment(
                    shared,
                    segment,
                    range,
                    (&mut file, &path),
                    &mut buffer,
                    &mut arrived,
                );
                if arrived >= PROGRESS_BYTES {
                    pauses.reset();
                }
                if let Err(failure) = result {
                    // The next request asks the hub again.
                    *lock(&shared.location) = None;
                    self.pause(&mut pauses, failure, &ended)?;
                }
            }
        }
    }

    fn pause(
        &self,
        pauses: &mut Pauses<'_>,
        failure: Failure,
        ended: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let (pause, why) = pauses.after(failure, self.file.path.as_str())?;
        (self.events)(Event::Again {
            what: self.file.path.as_str(),
            why: &why,
            pause,
        });
        let mut left = pause;
        while !left.is_zero() && !ended() {
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
        Ok(())
    }

    /// Fetches the bytes of `range`, which all belong to `segment`.
    fn segment(
        &self,
        shared: &Shared,
        segment: usize,
        range: (u64, u64),
        (file, path): (&mut File, &Path),
        buffer: &mut [u8],
        arrived: &mut u64,
    ) -> Result<(), Failure> {
        let what = self.file.path.as_str();
        let all = range == (0, self.file.size);
        let known = lock(&shared.location).clone();
        let url = known.as_deref().unwrap_or(&self.file.url);
        let body = self.http.get(url, (!all).then_some(range), what)?;
        if known.is_none() {
            self.check_etag(&body, shared)?;
            if !self.http.is_own(&body.url) {
                *lock(&shared.location) = Some(body.url.clone());
            }
        }
        let partial = body.response.status().as_u16() == 206;
        if !all && !partial {
            // All of the file, from its start: not what was asked for.
            shared.whole.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.check_length(&body, partial.then_some(range))?;
        file.seek(SeekFrom::Start(range.0))
            .map_err(Error::write(path))?;
        let mut left = range.1 - range.0;
        let mut reader = body.response.into_body().into_reader();
        while left > 0 {
            let n = read_some(&mut reader, buffer, left)?;
            let bytes = buffer.get(..n).unwrap_or_default();
            file.write_all(bytes).map_err(Error::write(path))?;
            left -= n as u64;
            *arrived += n as u64;
            (self.events)(Event::Arrived {
                file: &self.file.path,
                bytes: n as u64,
            });
            lock(&shared.part).advance(segment, n as u64)?;
            shared.changed.notify_all();
            if shared.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        // Reading the end lets the connection be used again.
        match reader.read(buffer.get_mut(..1).unwrap_or_default()) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err(Failure::passing(
                "the server sends more than it was asked for",
            )),
        }
    }

    /// Fetches the file from a server that gives no parts of it.
    fn fetch_whole(&self, mut part: Part) -> Result<(Part, Hashes), Error> {
        let path = part.path().to_owned();
        let mut pauses = Pauses::new(self.options);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            part.discard()?;
            (self.events)(Event::Started {
                file: &self.file.path,
                size: self.file.size,
                already: 0,
            });
            match self.whole(&path, &mut buffer) {
                Ok(hashes) => {
                    for segment in 0..part.segments() {
                        let (start, end) = part.bounds(segment);
                        part.advance(segment, end - start)?;
                    }
                    return Ok((part, hashes));
                }
                Err(failure) => self.pause(&mut pauses, failure, &|| false)?,
            }
        }
    }

    fn whole(&self, path: &Path, buffer: &mut [u8]) -> Result<Hashes, Failure> {
        let body = self
            .http
            .get(&self.file.url, None, self.file.path.as_str())?;
        self.check_length(&body, None)?;
        let file = File::options().write(true).open(path);
        let mut file = file.map_err(Error::write(path))?;
        let mut hasher = self.hasher();
        let mut left = self.file.size;
        let mut reader = body.response.into_body().into_reader();
        while left > 0 {
            let n = read_some(&mut reader, buffer, left)?;
            let bytes = buffer.get(..n).unwrap_or_default();
            file.write_all(bytes).map_err(Error::write(path))?;
            hasher.update(bytes);
            left -= n as u64;
            (self.events)(Event::Arrived {
                file: &self.file.path,
                bytes: n as u64,
            });
        }
        Ok(hasher.finish())
    }

    /// Fails when the hub now has another file under this name.
    fn check_etag(&self, body: &Body, shared: &Shared) -> Result<(), Error> {
        let Some(tag) = &body.etag else {
            return Ok(());
        };
        let same = match (Checksum::from_etag(tag), self.file.checksum) {
            (Some(Checksum::Sha256(now)), Checksum::Sha256(then)) => now == then,
            (Some(Checksum::Git(now)), Checksum::Git(then)) => now == then,
            // Says nothing of the content, but must stay as it is.
            _ => lock(&shared.etag).get_or_insert_with(|| tag.clone()) == tag,
        };
        if same {
            Ok(())
        } else {
            Err(Error::Changed {
                file: self.file.path.clone(),
            })
        }
    }

    /// Fails when an answer isn't about the bytes that were asked for.
    fn check_length(&self, body: &Body, range: Option<(u64, u64)>) -> Result<(), Failure> {
        let text = |name: &str| body.response.headers().get(name)?.to_str().ok();
        let wrong = |why: String| Err(Failure::passing(why));
        let size = self.file.size;
        if let Some((from, to)) = range {
            let expected = format!("bytes {from}-{}/{size}", to - 1);
            return match text("content-range") {
                Some(found) if found == expected => Ok(()),
                found => wrong(format!(
                    "the server sends {:?} instead of {expected:?}",
                    found.unwrap_or_default()
                )),
            };
        }
        match text("content-length").and_then(|text| text.parse::<u64>().ok()) {
            Some(length) if length != size => wrong(format!(
                "the server has {length} bytes, but the hub's listing says {size}"
            )),
            _ => Ok(()),
        }
    }
}

/// Reads what is there, at most `left` bytes.
fn read_some(reader: &mut impl Read, buffer: &mut [u8], left: u64) -> Result<usize, Failure> {
    let wanted = buffer
        .len()
        .min(usize::try_from(left).unwrap_or(usize::MAX));
    loop {
        match reader.read(buffer.get_mut(..wanted).unwrap_or_default()) {
            Ok(0) => return Err(Failure::passing("the connection was cut")),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::passing(e)),
        }
    }
}

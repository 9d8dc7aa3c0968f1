//! A file that is being fetched, and how far each of its segments has come.
//!
//! The bytes are in one file of the final size, with holes; a small file beside it says how many
//! bytes of each segment are there. Bytes are written first, so that after a kill the count is at
//! most too small. After a power cut it may be too large: the checksum over the whole file decides.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::store::state_of;

/// Name and version of the format.
const MAGIC: [u8; 8] = *b"AKIDBDL1";

/// Bytes before the counts: the magic, the file's size and the segments' size.
const HEADER: usize = 24;

/// Most segments; the size of segments grows instead.
const MAX_SEGMENTS: u64 = 1 << 16;

/// A file that is being fetched.
#[derive(Debug)]
pub(crate) struct Part {
    data: PathBuf,
    state: PathBuf,
    size: u64,
    segment: u64,
    /// Bytes that are there, of each segment.
    done: Vec<u64>,
    counts: File,
}

impl Part {
    /// Goes on with what is at `data`, or starts anew when that belongs to another size.
    pub(crate) fn open(data: &Path, size: u64, segment: u64) -> Result<Self, Error> {
        let state = state_of(data);
        let segment = segment.max(1).max(size.div_ceil(MAX_SEGMENTS));
        let count = usize::try_from(size.div_ceil(segment)).unwrap_or(usize::MAX);
        let known = fs::metadata(data).is_ok_and(|m| m.len() == size);
        let before = known.then(|| read(&state)).flatten();
        let before = before.and_then(|bytes| counts(&bytes, size, segment, count));
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(data);
        let file = file.map_err(Error::write(data))?;
        let done = match before {
            Some(done) => done,
            None => {
                let fresh = || {
                    // Nothing of what was there counts any more.
                    file.set_len(0)?;
                    file.set_len(size)?;
                    let mut bytes = Vec::with_capacity(HEADER + count * 8);
                    bytes.extend(MAGIC);
                    bytes.extend(size.to_le_bytes());
                    bytes.extend(segment.to_le_bytes());
                    bytes.resize(HEADER + count * 8, 0);
                    fs::write(&state, bytes)
                };
                fresh().map_err(Error::write(data))?;
                vec![0; count]
            }
        };
        let counts = File::options().write(true).open(&state);
        Ok(Self {
            data: data.to_owned(),
            counts: counts.map_err(Error::write(&state))?,
            state,
            size,
            segment,
            done,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.data
    }

    pub(crate) fn segments(&self) -> usize {
        self.done.len()
    }

    /// First byte of a segment, and the byte after its last.
    pub(crate) fn bounds(&self, segment: usize) -> (u64, u64) {
        let start = self.segment.saturating_mul(segment as u64);
        (
            start.min(self.size),
            start.saturating_add(self.segment).min(self.size),
        )
    }

    /// The bytes of a segment that are still to be fetched; `None` when there are none.
    pub(crate) fn missing(&self, segment: usize) -> Option<(u64, u64)> {
        let (start, end) = self.bounds(segment);
        let from = start.saturating_add(self.done.get(segment).copied().unwrap_or_default());
        (from < end).then_some((from, end))
    }

    /// Bytes from the file's start on that are all there.
    pub(crate) fn frontier(&self) -> u64 {
        let first = (0..self.segments()).find_map(|segment| self.missing(segment));
        first.map_or(self.size, |(from, _)| from)
    }

    /// Bytes that are there.
    pub(crate) fn total(&self) -> u64 {
        self.done.iter().copied().fold(0, u64::saturating_add)
    }

    /// Notes that `bytes` more of a segment have been written.
    pub(crate) fn advance(&mut self, segment: usize, bytes: u64) -> Result<(), Error> {
        let Some(done) = self.done.get_mut(segment) else {
            return Ok(());
        };
        *done = done.saturating_add(bytes);
        let done = done.to_le_bytes();
        let mut write = || {
            let at = HEADER.saturating_add(segment.saturating_mul(8));
            self.counts.seek(SeekFrom::Start(at as u64))?;
            self.counts.write_all(&done)
        };
        write().map_err(Error::write(&self.state))
    }

    /// Forgets all bytes.
    pub(crate) fn discard(&mut self) -> Result<(), Error> {
        let mut write = || {
            self.done.fill(0);
            self.counts.seek(SeekFrom::Start(HEADER as u64))?;
            self.counts.write_all(&vec![0; self.done.len() * 8])
        };
        write().map_err(Error::write(&self.state))
    }

    /// The file is complete. What says so stays until the file is in its place: after an
    /// interruption before that, it needn't be fetched again.
    pub(crate) fn finish(self) -> PathBuf {
        self.data
    }
}

/// The counts in a state file, if they are those of a file of this form.
fn counts(bytes: &[u8], size: u64, segment: u64, count: usize) -> Option<Vec<u64>> {
    let (header, counts) = bytes.split_at_checked(HEADER)?;
    let numbers = |bytes: &[u8]| -> Option<Vec<u64>> {
        let number = |b: &[u8]| b.try_into().ok().map(u64::from_le_bytes);
        bytes.chunks(8).map(number).collect()
    };
    let sound = header == [&MAGIC[..], &size.to_le_bytes(), &segment.to_le_bytes()].concat();
    let counts = numbers(counts)?;
    let within = |(index, done): (usize, &u64)| {
        let start = segment.saturating_mul(index as u64);
        *done <= segment.min(size.saturating_sub(start))
    };
    let sound = sound && counts.len() == count && counts.iter().enumerate().all(within);
    sound.then_some(counts)
}

/// The bytes of a state file; `None` when there is none.
fn read(state: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = HEADER as u64 + MAX_SEGMENTS * 8;
    let file = File::open(state).ok()?;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Bytes of interrupted downloads under `path` that count.
pub(crate) fn already_there(data: &Path, size: u64, segment: u64) -> u64 {
    let segment = segment.max(1).max(size.div_ceil(MAX_SEGMENTS));
    let count = usize::try_from(size.div_ceil(segment)).unwrap_or(usize::MAX);
    let known = fs::metadata(data).is_ok_and(|m| m.len() == size);
    let bytes = known.then(|| read(&state_of(data))).flatten();
    let done = bytes.and_then(|bytes| counts(&bytes, size, segment, count));
    done.map_or(0, |done| done.iter().copied().fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let mut part = Part::open(&path, 25, 10).unwrap();
        assert_eq!((part.segments(), part.bounds(2)), (3, (20, 25)));
        part.advance(0, 10).unwrap();
        part.advance(1, 3).unwrap();
        part.advance(2, 5).unwrap();
        assert_eq!((part.frontier(), part.total()), (13, 18));
        drop(part);
        assert_eq!(already_there(&path, 25, 10), 18);

        let mut part = Part::open(&path, 25, 10).unwrap();
        assert_eq!(part.missing(0), None);
        assert_eq!(part.missing(1), Some((13, 20)));
        assert_eq!((part.frontier(), part.total()), (13, 18));
        part.discard().unwrap();
        assert_eq!((part.frontier(), part.total()), (0, 0));
        part.advance(0, 1).unwrap();
        drop(part);

        // Another size, other segments, or counts that can't be: start anew.
        assert_eq!(Part::open(&path, 26, 10).unwrap().total(), 0);
        Part::open(&path, 26, 10).unwrap().advance(0, 4).unwrap();
        assert_eq!(Part::open(&path, 26, 5).unwrap().total(), 0);
        Part::open(&path, 26, 5).unwrap().advance(0, 6).unwrap();
        assert_eq!(Part::open(&path, 26, 5).unwrap().total(), 0);
        fs::write(dir.path().join("p.state"), "x").unwrap();
        assert_eq!(Part::open(&path, 26, 5).unwrap().total(), 0);
    }

    #[test]
    fn an_empty_file_is_complete_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let part = Part::open(&dir.path().join("p"), 0, 10).unwrap();
        assert_eq!((part.segments(), part.frontier()), (0, 0));
        assert!(part.finish().is_file());
    }
}

//! An object, read as a file.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use object_store::{GetOptions, ObjectMeta, ObjectStoreExt};

use super::{Location, PAUSE, TRIES, state};
use crate::corpus::file_state::{Access, FileState};

/// Read in blocks, of which the last ones used are kept. A copy has a position of its own.
#[derive(Clone)]
pub(in crate::corpus) struct ObjectFile {
    location: Location,
    meta: Arc<ObjectMeta>,
    access: Access,
    position: u64,
    /// By their numbers, the last one used last.
    blocks: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl ObjectFile {
    /// # Errors
    /// When there is none.
    pub(in crate::corpus) fn open(url: &str, access: Access) -> io::Result<Self> {
        let location = Location::of(url)?;
        let meta = location.wait(location.store.head(&location.key))?;
        Ok(Self {
            location,
            meta: Arc::new(meta),
            access,
            position: 0,
            blocks: Arc::default(),
        })
    }

    /// As it was when it was opened; what is read later is of the same.
    pub(in crate::corpus) fn state(&self) -> FileState {
        state(&self.meta)
    }

    /// This part of it; less where it ends before.
    pub(in crate::corpus) fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start.saturating_add(length as u64).min(self.meta.size);
        if length as u64 > self.access.block_bytes() {
            return self.fetch(start.min(end)..end);
        }
        let mut bytes = Vec::with_capacity(length);
        let mut at = start;
        while at < end {
            let block = self.rest_of_block(at)?;
            let part = block
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if at == start && at + part as u64 == end {
                return Ok(block.slice(..part));
            }
            bytes.extend_from_slice(block.get(..part).unwrap_or_default());
            at += part as u64;
        }
        Ok(bytes.into())
    }

    /// What a block holds from here on.
    fn rest_of_block(&self, position: u64) -> io::Result<Bytes> {
        let size = self.access.block_bytes();
        let number = position / size;
        let block = {
            let mut blocks = self.lock();
            let place = blocks.iter().position(|(of, _)| *of == number);
            place.and_then(|place| blocks.remove(place))
        };
        let block = match block {
            Some((_, block)) => block,
            None => {
                let start = number * size;
                self.fetch(start..(start + size).min(self.meta.size))?
            }
        };
        let mut blocks = self.lock();
        blocks.push_back((number, block.clone()));
        while blocks.len() > self.access.blocks() {
            blocks.pop_front();
        }
        let skipped = usize::try_from(position % size).unwrap_or(usize::MAX);
        Ok(block.slice(skipped.min(block.len())..))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Bytes)>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a range, again where an answer breaks off.
    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let mut pause = PAUSE;
        for attempt in 1.. {
            let options = GetOptions::new().with_range(Some(range.clone()));
            let location = &self.location;
            let answer = location.wait(async {
                let found = location.store.get_opts(&location.key, options).await?;
                let tag = found.meta.e_tag.clone();
                Ok((tag, found.bytes().await?))
            });
            let error = match answer {
                Ok((tag, _)) if tag != self.meta.e_tag => {
                    return Err(io::Error::other("it was written to while it was read"));
                }
                Ok((_, bytes)) if bytes.len() as u64 == length => return Ok(bytes),
                Ok((_, bytes)) => io::Error::new(
                    ErrorKind::UnexpectedEof,
                    format!("{} of {length} bytes came", bytes.len()),
                ),
                Err(error) => error,
            };
            let is_final = matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            );
            if attempt >= TRIES || is_final {
                return Err(error);
            }
            thread::sleep(pause);
            pause *= 2;
        }
        Ok(Bytes::new())
    }
}

impl Read for ObjectFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.meta.size {
            return Ok(0);
        }
        let block = self.rest_of_block(self.position)?;
        let length = block.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), block.get(..length)) {
            to.copy_from_slice(from);
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for ObjectFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.meta.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(ErrorKind::InvalidInput, "a position before the beginning");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

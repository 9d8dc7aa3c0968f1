//! The format of a pack.
//!
//! [`MAGIC`], the length of the header (u64, little endian), its XXH3-128 (u128), the header
//! (JSON), zeros up to the next page, and the parts of the weights, each from the start of a page
//! on.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use akidb_kernels::{Weight, WeightFormat};
use akidb_onnx::{map_file, map_open_file};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::cache_error::CacheError;
use super::source::source_path;
use super::{CachedPack, EXTENSION, trust};
use crate::pool::Pool;

/// Name and version of the format.
const MAGIC: [u8; 8] = *b"AKIDBPK1";

/// Bytes before the header.
const PREFIX: usize = MAGIC.len() + size_of::<u64>() + size_of::<u128>();

/// Longest header that is read, in bytes. That of a model with 28 layers has 30 kB.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Where parts start, in bytes: a page of most systems.
const ALIGNMENT: usize = 4096;

/// Bytes written at a time, each time from a multiple of it on: a huge page. Linux then keeps the
/// file in huge pages where the file system can, and maps them as such, which spares the products
/// most of their address translation.
const WRITE_BYTES: usize = 2 << 20;

/// What a file that is being written has in its name.
const TEMPORARY: &str = ".tmp-";

/// When a temporary file is sure to be left over from a process that ended early.
const ABANDONED: Duration = Duration::from_hours(24);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) identity: String,
    weights: Vec<WeightEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WeightEntry {
    kind: WeightFormat,
    parts: Vec<PartEntry>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct PartEntry {
    /// From where parts begin.
    offset: usize,
    len: usize,
    xxh3: u128,
}

impl CachedPack {
    pub(super) fn try_read(&self, pool: &Pool) -> Result<Vec<Vec<Weight>>, CacheError> {
        let file = map_open_file(trust::open(&self.path)?, &self.path).map_err(CacheError::Map)?;
        let (header, data) = split(&file)?;
        if header.identity != self.identity {
            return Err(CacheError::Identity);
        }
        if self.layers.checked_mul(self.shapes.len()) != Some(header.weights.len()) {
            return Err(CacheError::Damaged("number of weights"));
        }
        let mut hashes = Vec::new();
        let mut weights = Vec::new();
        for (entry, shape) in header.weights.iter().zip(self.shapes.iter().cycle()) {
            let mut parts = Vec::new();
            for part in &entry.parts {
                let end = part.offset.checked_add(part.len);
                let end = end.filter(|end| *end <= data.len());
                let bytes = data.slice(part.offset..end.ok_or(CacheError::CutOff)?);
                hashes.push((bytes.clone(), part.xxh3));
                parts.push(bytes);
            }
            weights.push(Weight::from_parts(entry.kind, *shape, parts)?);
        }
        let damaged = AtomicBool::new(false);
        pool.for_each(hashes, |(bytes, expected)| {
            if XxHash3_128::oneshot(&bytes) != expected {
                damaged.store(true, Ordering::Relaxed);
            }
            Ok(())
        })?;
        if damaged.into_inner() {
            return Err(CacheError::Damaged("data"));
        }
        let mut weights = weights.into_iter();
        let layer = || weights.by_ref().take(self.shapes.len()).collect();
        Ok(std::iter::repeat_with(layer).take(self.layers).collect())
    }

    /// The number of bytes written; `None` when so few are not worth it.
    pub(super) fn try_write(
        &self,
        weights: &[&Weight],
        pool: &Pool,
    ) -> Result<Option<usize>, CacheError> {
        let mut data = Vec::new();
        let mut end = 0;
        let mut entries = Vec::new();
        for weight in weights {
            let mut of_weight = Vec::new();
            for bytes in weight.parts() {
                let (offset, len) = (end, bytes.len());
                of_weight.push(PartEntry {
                    offset,
                    len,
                    xxh3: 0,
                });
                end = (offset + len).next_multiple_of(ALIGNMENT);
                data.push(bytes);
            }
            entries.push(WeightEntry {
                kind: weight.format(),
                parts: of_weight,
            });
        }
        if end < self.min_bytes {
            return Ok(None);
        }
        let targets = entries.iter_mut().flat_map(|entry| &mut entry.parts);
        pool.for_each(targets.zip(&data).collect(), |(part, bytes)| {
            part.xxh3 = XxHash3_128::oneshot(bytes);
            Ok(())
        })?;
        let header = serde_json::to_vec(&Header {
            identity: self.identity.clone(),
            weights: entries,
        });
        self.replace(&header.map_err(io::Error::from)?, &data)?;
        Ok(Some(end))
    }

    /// Writes a file of another name, which then takes the place of what is there: a process that
    /// reads the old one, or writes one too, isn't disturbed.
    fn replace(&self, header: &[u8], data: &[&[u8]]) -> Result<(), CacheError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        make_private(directory)?;
        trust::check_directory(directory)?;
        remove_left_behind(directory)?;
        // Deleted when it goes out of scope without a new name.
        let mut file = tempfile::Builder::new()
            .prefix(&format!("{name}{TEMPORARY}{}-", std::process::id()))
            .suffix(&format!(".{EXTENSION}"))
            .tempfile_in(directory)?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, file.as_file_mut());
        out.write_all(&MAGIC)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&XxHash3_128::oneshot(header).to_le_bytes())?;
        write_evenly(&mut out, header)?;
        let mut len = PREFIX + header.len();
        for bytes in data {
            let padding = len.next_multiple_of(ALIGNMENT) - len;
            write_evenly(&mut out, &[0; ALIGNMENT][..padding])?;
            write_evenly(&mut out, bytes)?;
            len += padding + bytes.len();
        }
        out.flush()?;
        drop(out);
        file.persist(&self.path).map_err(io::Error::from)?;
        Ok(())
    }
}

/// Makes a directory, and those above it, that only this user can look into.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// The header of a pack and the bytes of its file; `None` of what is no pack, or a damaged one.
pub(super) fn header_of(pack: &Path) -> Option<(Header, u64)> {
    let file = map_file(pack).ok()?;
    let (header, _) = split(&file).ok()?;
    Some((header, file.len() as u64))
}

/// The header, and the parts after it.
fn split(file: &Bytes) -> Result<(Header, Bytes), CacheError> {
    // A copy: a mapped file could change between the check and the use.
    let prefix = file
        .first_chunk::<PREFIX>()
        .ok_or(CacheError::CutOff)?
        .to_owned();
    let (magic, rest) = prefix.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(CacheError::Format);
    }
    let (len, hash) = rest.split_at(size_of::<u64>());
    let len = len.try_into().ok().map(u64::from_le_bytes);
    let len = len.and_then(|len| usize::try_from(len).ok());
    let len = len.filter(|len| *len <= MAX_HEADER_BYTES);
    let len = len.ok_or(CacheError::Damaged("header"))?;
    let header = file
        .get(PREFIX..PREFIX + len)
        .ok_or(CacheError::CutOff)?
        .to_vec();
    if XxHash3_128::oneshot(&header).to_le_bytes() != hash {
        return Err(CacheError::Damaged("header"));
    }
    let parsed = serde_json::from_slice(&header);
    let start = (PREFIX + len).next_multiple_of(ALIGNMENT).min(file.len());
    Ok((parsed.map_err(|_| CacheError::Format)?, file.slice(start..)))
}

/// Writes `bytes`, the file getting nothing but full buffers.
fn write_evenly(out: &mut BufWriter<impl Write>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let room = out.capacity() - out.buffer().len();
        if room == 0 {
            out.flush()?;
            continue;
        }
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        out.write_all(now)?;
        bytes = later;
    }
    Ok(())
}

/// Removes what processes that ended early have left behind, and packs of files that are gone.
fn remove_left_behind(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.ends_with(EXTENSION) {
            continue;
        }
        let useless = if name.contains(TEMPORARY) {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            age.is_some_and(|age| age > ABANDONED)
        } else {
            lacks_a_source(&entry.path())
        };
        if useless {
            // Another process may have been faster.
            let _: io::Result<()> = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Whether this is a pack, and one of the files that it is made of doesn't exist.
fn lacks_a_source(pack: &Path) -> bool {
    header_of(pack).is_some_and(|(header, _)| {
        let mut sources = header.identity.lines().filter_map(source_path);
        sources.any(|path| matches!(path.try_exists(), Ok(false)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of all writes.
    #[derive(Default)]
    struct Lengths(Vec<usize>);

    impl Write for Lengths {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn files_are_written_in_equal_parts() {
        let mut out = BufWriter::with_capacity(10, Lengths::default());
        for len in [3, 0, 7, 10, 25, 1, 9, 4] {
            write_evenly(&mut out, &vec![1; len]).unwrap();
        }
        out.flush().unwrap();
        assert_eq!(out.get_ref().0, [10, 10, 10, 10, 10, 9]);
    }
}

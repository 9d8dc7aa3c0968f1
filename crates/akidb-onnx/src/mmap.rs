//! The one place where files are mapped into memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Error, ErrorKind};

/// Maps a whole file for reading. Pages are read when first touched.
///
/// Another program may change the file meanwhile: copy what must stay as it was checked, and text
/// before it is taken for a `str`.
///
/// # Errors
/// When the file can't be opened or mapped, is empty, or is no regular file.
pub fn map_file(path: &Path) -> Result<Bytes, Error> {
    map(path).map_err(|e| e.at(path))
}

fn map(path: &Path) -> Result<Bytes, Error> {
    // Opening a pipe waits for a writer, so look before opening.
    if !fs::metadata(path).map_err(ErrorKind::Io)?.is_file() {
        return Err(ErrorKind::NotAFile.into());
    }
    let file = File::open(path).map_err(ErrorKind::Io)?;
    let metadata = file.metadata().map_err(ErrorKind::Io)?;
    if !metadata.is_file() {
        return Err(ErrorKind::NotAFile.into());
    }
    if metadata.len() == 0 {
        return Err(ErrorKind::EmptyFile.into());
    }
    let mapping = Arc::new(map_readonly(&file).map_err(ErrorKind::Io)?);
    let mut mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    mappings.retain(|mapping| mapping.strong_count() > 0);
    mappings.push(Arc::downgrade(&mapping));
    Ok(Bytes::from_owner(Mapping(mapping)))
}

/// Every file that is mapped.
static MAPPINGS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());

struct Mapping(Arc<Mmap>);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes the pages of all mapped files out of this process's memory, such as after their weights
/// were copied. What is looked at again is read again, from the system's cache as a rule.
pub fn release_pages() {
    let mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    for mapping in mappings.iter().filter_map(Weak::upgrade) {
        // Where the system won't, the pages stay, and nothing else is lost.
        release(&mapping).ok();
    }
}

#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "the advice is unsafe because it would undo writes to memory"
)]
fn release(mapping: &Mmap) -> std::io::Result<()> {
    // SAFETY: the mapping is of a file, and nothing is ever written to it: a page that is dropped
    // comes back with the file's contents.
    unsafe { mapping.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) }
}

#[cfg(not(unix))]
fn release(_: &Mmap) -> std::io::Result<()> {
    Ok(())
}

#[allow(
    unsafe_code,
    reason = "mapping is unsafe because other programs can change the file"
)]
fn map_readonly(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and this process never writes to the file.
    // What we can't rule out is another program that overwrites or cuts the file while it is
    // mapped: values read then may be torn, and reading past the new end raises SIGBUS. Model
    // files are replaced by renaming, which leaves a mapping intact; no slice of the mapping is
    // ever taken for a `str` or anything else whose validity depends on its contents.
    unsafe { Mmap::map(file) }
}

/// Reads a small file, such as `config.json`.
///
/// # Errors
/// As [`map_file`], and when the file is longer than `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let bytes = map_file(path)?;
    if bytes.len() > limit {
        return Err(Error::from(ErrorKind::TooLarge { limit }).at(path));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_shared_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"abc").unwrap();
        let bytes = map_file(&path).unwrap();
        assert_eq!(bytes, "abc");
        assert_eq!(bytes.clone().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn released_pages_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, vec![7; 100_000]).unwrap();
        let bytes = map_file(&path).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        release_pages();
        assert!(bytes.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn directories_empty_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = map_file(dir.path()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotAFile), "{error}");
        let path = dir.path().join("empty");
        fs::write(&path, b"").unwrap();
        let error = map_file(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::EmptyFile), "{error}");
        assert_eq!(error.path(), Some(&*path));
        let error = map_file(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    }

    #[test]
    fn small_means_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, b"{}  ").unwrap();
        assert_eq!(read_small(&path, 4).unwrap(), b"{}  ");
        let error = read_small(&path, 3).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::TooLarge { limit: 3 }),
            "{error}"
        );
    }
}

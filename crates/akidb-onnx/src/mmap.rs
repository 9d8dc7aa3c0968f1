//! The one place where files are mapped into memory.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Error, ErrorKind};
use crate::lfs::LfsPointer;
use crate::regular_file::open_if_regular;

/// Maps a whole file for reading. Pages are read when first touched.
///
/// Another program may change the file meanwhile: copy what must stay as it was checked, and text
/// before it is taken for a `str`; look at [`MappedFiles`] before what is mapped is read much later.
///
/// # Errors
/// When the file can't be opened or mapped, is empty, or is no regular file.
pub fn map_file(path: &Path) -> Result<Bytes, Error> {
    let open = || {
        let file = open_if_regular(path).map_err(ErrorKind::Io)?;
        file.ok_or(ErrorKind::NotAFile)
    };
    map_open_file(open().map_err(|kind| Error::from(kind).at(path))?, path)
}

/// [`map_file`] of a file that is open; `path` is for messages.
///
/// # Errors
/// As [`map_file`].
pub fn map_open_file(file: File, path: &Path) -> Result<Bytes, Error> {
    map(file, path).map_err(|kind| Error::from(kind).at(path))
}

fn map(file: File, path: &Path) -> Result<Bytes, ErrorKind> {
    let metadata = file.metadata().map_err(ErrorKind::Io)?;
    if !metadata.is_file() {
        return Err(ErrorKind::NotAFile);
    }
    if metadata.len() == 0 {
        return Err(ErrorKind::EmptyFile);
    }
    let mapping = map_readonly(&file).map_err(ErrorKind::Io)?;
    LfsPointer::refuse(&mapping)?;
    let mapped = Arc::new(MappedFile {
        path: path.to_owned(),
        version: version(&metadata).map_err(ErrorKind::Io)?,
        mapping,
        file,
    });
    let mut all = mapped_files();
    all.retain(|mapped| mapped.strong_count() > 0);
    all.push(Arc::downgrade(&mapped));
    Ok(Bytes::from_owner(Contents(mapped)))
}

/// A file that is mapped, which is kept open, so that it can be looked at after it got another name.
#[derive(Debug)]
struct MappedFile {
    path: PathBuf,
    file: File,
    /// When it was mapped.
    version: (u64, SystemTime),
    mapping: Mmap,
}

/// What changes with a file's contents: its length and the time of the last change.
fn version(metadata: &Metadata) -> std::io::Result<(u64, SystemTime)> {
    Ok((metadata.len(), metadata.modified()?))
}

/// Every file that is mapped.
static MAPPED_FILES: Mutex<Vec<Weak<MappedFile>>> = Mutex::new(Vec::new());

fn mapped_files() -> MutexGuard<'static, Vec<Weak<MappedFile>>> {
    MAPPED_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Contents(Arc<MappedFile>);

impl AsRef<[u8]> for Contents {
    fn as_ref(&self) -> &[u8] {
        &self.0.mapping
    }
}

/// The mapped files that weights lie in, to be looked at before each pass that reads these.
///
/// A file that is cut while it is mapped ends the process that reads past its new end (SIGBUS), and
/// one that is overwritten gives other weights. What is done to it during a pass isn't seen before the
/// next one.
#[derive(Debug, Clone, Default)]
pub struct MappedFiles {
    files: Vec<Arc<MappedFile>>,
}

impl MappedFiles {
    /// The files that any of these bytes are mapped from; those that lie in memory are of none.
    pub fn holding<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let starts: Vec<*const u8> = slices.into_iter().map(<[u8]>::as_ptr).collect();
        let all = mapped_files();
        let files = all.iter().filter_map(Weak::upgrade).filter(|mapped| {
            let addresses = mapped.mapping.as_ptr_range();
            starts.iter().any(|start| addresses.contains(start))
        });
        Self {
            files: files.collect(),
        }
    }

    /// Looks whether each file is as it was when it was mapped.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] of the first that isn't.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        for mapped in &self.files {
            let now = mapped.file.metadata().and_then(|now| version(&now));
            let now = now.map_err(|e| Error::from(ErrorKind::Io(e)).at(&mapped.path))?;
            if now != mapped.version {
                let changed = ErrorKind::Changed {
                    mapped: mapped.version.0,
                    now: now.0,
                };
                return Err(Error::from(changed).at(&mapped.path));
            }
        }
        Ok(())
    }
}

/// Takes the pages of all mapped files out of this process's memory, such as after their weights
/// were copied. What is looked at again is read again, from the system's cache as a rule.
pub fn release_pages() {
    for mapped in mapped_files().iter().filter_map(Weak::upgrade) {
        // Where the system won't, the pages stay, and nothing else is lost.
        release(&mapped.mapping).ok();
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
    // files are replaced by renaming, which leaves a mapping intact, and `MappedFiles` tells what
    // else was done to them before a pass; no slice of the mapping is ever taken for a `str` or
    // anything else whose validity depends on its contents.
    unsafe { Mmap::map(file) }
}

/// Reads a small file, such as `config.json`.
///
/// # Errors
/// As [`map_file`], and when the file is longer than `limit` bytes.
pub fn read_small(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let bytes = map_file(path)?;
    if bytes.len() > limit {
        return Err(Error::from(ErrorKind::TooLarge { limit }).at(path));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_file_that_is_cut_or_overwritten_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        let truncate = |file: &File| file.set_len(2).unwrap();
        let overwrite = |file: &File| file.set_modified(later).unwrap();
        let attacks: [&dyn Fn(&File); 2] = [&truncate, &overwrite];
        for attack in attacks {
            for name in ["weights", "other"] {
                fs::write(path(name), b"abcdef").unwrap();
            }
            let weights = map_file(&path("weights")).unwrap();
            let other = map_file(&path("other")).unwrap();
            let in_memory = b"abcdef".to_vec();
            let files = MappedFiles::holding([&weights[1..], &in_memory]);
            assert_eq!(files.files.len(), 1);
            files.check_unchanged().unwrap();
            attack(&File::options().append(true).open(path("weights")).unwrap());
            let error = files.check_unchanged().unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Changed { mapped: 6, .. }),
                "{error}"
            );
            assert_eq!(error.path(), Some(&*path("weights")));
            let of_other = MappedFiles::holding([&*other]);
            of_other.check_unchanged().unwrap();
        }
    }

    #[test]
    fn a_file_that_another_takes_the_place_of_is_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        fs::write(&path, b"old").unwrap();
        let bytes = map_file(&path).unwrap();
        let files = MappedFiles::holding([&*bytes]);
        fs::write(dir.path().join("new"), b"newer").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        files.check_unchanged().unwrap();
        assert_eq!(bytes, "old");
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

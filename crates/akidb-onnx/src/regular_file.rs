//! Opening files whose names come from outside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::lfs::LfsPointer;

/// Opens a file for reading, unless it is a pipe, a device or a directory: opening or reading one of
/// these can wait for ever, or do something.
///
/// # Errors
/// When it can't be opened, or is no regular file.
pub fn open_regular_file(path: &Path) -> io::Result<File> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    open_if_regular(path)?.ok_or_else(not_regular)
}

/// As [`open_regular_file`]; `None` when it is no regular file.
pub(crate) fn open_if_regular(path: &Path) -> io::Result<Option<File>> {
    // A device may do something when it is opened, so look before opening.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut options = File::options();
    options.read(true);
    // A pipe may have taken its place: opening that would wait for a writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let regular = file.metadata()?.is_file();
    Ok(regular.then_some(file))
}

/// Reads a file that [`open_regular_file`] opens, and no more than `limit` bytes of it.
///
/// # Errors
/// As that, when it can't be read, is longer, or is an [`LfsPointer`].
pub fn read_regular_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular_file(path)?;
    let size = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut file = file.take(limit.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let what = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    LfsPointer::refuse(&bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(read_regular_file(&path, 3).unwrap(), b"abc");
        let error = read_regular_file(&path, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = read_regular_file(&dir.path().join("y"), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let mut others = vec![dir.path().to_owned()];
        #[cfg(unix)]
        {
            let pipe = dir.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            assert!(made.unwrap().success());
            others.extend([pipe, "/dev/zero".into()]);
        }
        others.iter().for_each(|path| {
            let error = open_regular_file(path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{path:?}");
        });
    }
}

//! Pointers that Git LFS leaves in the place of files that it has not fetched.

use std::error::Error;
use std::fmt;
use std::io;

/// How a pointer begins.
const BEGINNING: &[u8] = b"version https://git-lfs.github.com/spec/v";

/// Longest pointer in bytes, as its specification says.
const LONGEST: usize = 1024;

/// A file is a pointer, and not what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfsPointer;

impl LfsPointer {
    /// Refuses a file with this content where it is a pointer.
    pub(crate) fn refuse(content: &[u8]) -> Result<(), Self> {
        match content.len() < LONGEST && content.starts_with(BEGINNING) {
            true => Err(Self),
            false => Ok(()),
        }
    }

    /// Whether that is why a file can't be read.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for LfsPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is a Git LFS pointer: git lfs pull fetches the file that it stands for")
    }
}

impl Error for LfsPointer {}

impl From<LfsPointer> for io::Error {
    fn from(pointer: LfsPointer) -> Self {
        Self::new(io::ErrorKind::InvalidData, pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmap::map_file;
    use crate::regular_file::read_regular_file;

    #[test]
    fn pointers_are_named_however_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        std::fs::write(&path, pointer).unwrap();
        let error = map_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("model.onnx: is a Git LFS pointer: git lfs pull"),
            "{error}"
        );
        let error = read_regular_file(&path, 1 << 20).unwrap_err();
        assert!(LfsPointer::is_in(&error), "{error}");
        // A file that only begins so is what it is.
        std::fs::write(&path, format!("{pointer}{}", "x".repeat(LONGEST))).unwrap();
        assert!(map_file(&path).is_ok() && read_regular_file(&path, 1 << 20).is_ok());
    }
}

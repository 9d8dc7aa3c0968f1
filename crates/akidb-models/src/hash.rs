//! Checksums of files, computed while their bytes pass by.

use std::io::{self, Read};
use std::path::Path;

use akidb_onnx::open_regular_file;
use sha2::Digest;

use crate::hex::{GitBlob, Hex, Sha256};

/// Bytes read at once.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// Computes a file's checksums.
pub(crate) struct Hasher {
    sha256: sha2::Sha256,
    git: sha1::Sha1,
    with_git: bool,
}

/// A file's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashes {
    pub(crate) sha256: Sha256,
    /// Where it was asked for.
    pub(crate) git: Option<GitBlob>,
}

impl Hasher {
    /// Of a file with `size` bytes; `with_git` also as git counts it.
    pub(crate) fn new(size: u64, with_git: bool) -> Self {
        let mut git = sha1::Sha1::new();
        git.update(format!("blob {size}\0"));
        Self {
            sha256: sha2::Sha256::new(),
            git,
            with_git,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if self.with_git {
            self.git.update(bytes);
        }
    }

    pub(crate) fn finish(self) -> Hashes {
        Hashes {
            sha256: Hex(self.sha256.finalize().into()),
            git: self.with_git.then(|| Hex(self.git.finalize().into())),
        }
    }
}

/// The checksums of a file and its size. `read` is told of every part that was read, in bytes.
pub(crate) fn hash_file(
    path: &Path,
    with_git: bool,
    read: &mut dyn FnMut(u64),
) -> io::Result<(Hashes, u64)> {
    let mut file = open_regular_file(path)?;
    let size = file.metadata()?.len();
    let mut hasher = Hasher::new(size, with_git);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0_u64;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), total)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(buffer.get(..n).unwrap_or_default());
        total = total.saturating_add(n as u64);
        read(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum_and_git_hash_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "hello\n").unwrap();
        let mut seen = 0;
        let (hashes, size) = hash_file(&path, true, &mut |n| seen += n).unwrap();
        assert_eq!((size, seen), (6, 6));
        assert_eq!(
            hashes.sha256.to_string(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert_eq!(
            hashes.git.unwrap().to_string(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }
}

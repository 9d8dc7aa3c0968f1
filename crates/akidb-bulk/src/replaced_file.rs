//! A file that appears under its name when it is whole.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// How temporary files end.
const SUFFIX: &str = ".tmp";

/// Characters between a temporary file's prefix and suffix.
const RANDOM: usize = 6;

/// Most bytes of a file's name that its temporary file's name has: systems allow 255.
const MOST_OF_NAME: usize = 200;

/// Under a temporary name until [`finish`](Self::finish); deleted when dropped before.
pub(crate) struct ReplacedFile {
    temporary: BufWriter<NamedTempFile>,
    path: PathBuf,
    name: String,
}

impl ReplacedFile {
    /// `path` is no link; `name` is what errors call it. What earlier runs that were killed have left
    /// for this path is deleted.
    pub(crate) fn create(path: PathBuf, name: String) -> io::Result<Self> {
        let directory = match path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            let message = format!("there is no directory {}", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let prefix = prefix(&path);
        delete_abandoned(directory, &prefix);
        let temporary = loop {
            let temporary = temporary(directory, &prefix)?;
            // Whoever has the lock is alive. Where a file system has none, nothing is deleted either.
            let _ = temporary.as_file().lock();
            // Another run may have taken it for abandoned before it was locked.
            if temporary.path().exists() {
                break temporary;
            }
        };
        if let Ok(existing) = path.metadata() {
            temporary
                .as_file()
                .set_permissions(existing.permissions())?;
        }
        Ok(Self {
            temporary: BufWriter::new(temporary),
            path,
            name,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> io::Result<()> {
        let path = self.path.clone();
        self.persist(&path)
    }

    /// Gives what there is the file's name with `.partial` after it, and says what that is.
    pub(crate) fn keep_partial(self) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(".partial");
        let partial = PathBuf::from(name);
        self.persist(&partial)?;
        Ok(partial)
    }

    fn persist(self, path: &Path) -> io::Result<()> {
        let temporary = self.temporary.into_inner().map_err(|e| e.into_error())?;
        temporary.persist(path).map_err(|e| e.error)?;
        Ok(())
    }
}

impl Write for ReplacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

/// How the names of a file's temporary files begin.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut end = name.len().min(MOST_OF_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}.", &name[..end])
}

fn temporary(directory: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(SUFFIX).rand_bytes(RANDOM);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: what the umask leaves of it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // Without the temporary name, which nobody knows.
    builder
        .tempfile_in(directory)
        .map_err(|error| error.kind().into())
}

/// Deletes temporary files of that prefix whose process is gone. What can't be deleted harms nobody.
fn delete_abandoned(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let random = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(SUFFIX));
        let ours = random.is_some_and(|random| {
            random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = fs::File::open(&path)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn create(path: &Path) -> ReplacedFile {
        ReplacedFile::create(path.to_owned(), path.display().to_string()).unwrap()
    }

    #[test]
    fn a_file_appears_whole_and_what_killed_runs_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.npy");
        for other in [
            ".out.npy.abc123.tmp",
            ".out.npy.abc.tmp",
            ".other.npy.abc123.tmp",
            "out.npy.tmp",
        ] {
            fs::write(dir.path().join(other), "old").unwrap();
        }
        let mut file = create(&path);
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        let made: Vec<_> = names(dir.path())
            .into_iter()
            .filter(|name| name.starts_with(".out.npy.") && name != ".out.npy.abc.tmp")
            .collect();
        assert_eq!(made.len(), 1, "{made:?}");
        // A second run to the same file doesn't take the first one's away.
        let second = create(&path);
        file.finish().unwrap();
        drop(second);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(
            names(dir.path()),
            [
                ".other.npy.abc123.tmp",
                ".out.npy.abc.tmp",
                "out.npy",
                "out.npy.tmp"
            ]
        );
    }

    #[test]
    fn what_there_is_can_be_kept_beside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        fs::write(&path, "older").unwrap();
        let mut file = create(&path);
        file.write_all(b"half").unwrap();
        let partial = file.keep_partial().unwrap();
        assert_eq!(fs::read(partial).unwrap(), b"half");
        assert_eq!(fs::read(&path).unwrap(), b"older");
        assert_eq!(names(dir.path()), ["out.jsonl", "out.jsonl.partial"]);
    }

    #[test]
    fn long_names_of_any_characters_have_temporary_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ü".repeat(127));
        create(&path).finish().unwrap();
        assert!(path.exists());
    }
}

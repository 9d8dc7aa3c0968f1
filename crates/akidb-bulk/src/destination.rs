//! Where output goes: to a stream as it comes, or to a file that appears when it is whole.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::BulkError;
use crate::replaced_file::ReplacedFile;

/// Links that are followed, as many as systems do.
const MOST_LINKS: usize = 40;

/// Where output goes.
pub struct Destination(pub(crate) Kind);

pub(crate) enum Kind {
    /// There is nothing to rename: standard output, a pipe, a device.
    Stream {
        out: Box<dyn Write + Send>,
        name: String,
    },
    /// Renamed to its name when complete, deleted when not.
    File(ReplacedFile),
}

impl Destination {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::stream(io::stdout(), "standard output")
    }

    /// Whatever takes bytes; `name` is what errors call it.
    pub fn stream(out: impl Write + Send + 'static, name: &str) -> Self {
        Self(Kind::Stream {
            out: Box::new(BufWriter::new(out)),
            name: name.to_owned(),
        })
    }

    /// What `path` names. A regular file is replaced when the output is whole, and so is one that a
    /// link leads to, whether it is there or not; anything else is written to.
    ///
    /// # Errors
    /// When it is a directory or can't be opened, or there is no directory that it could be in.
    pub fn open(path: &Path) -> Result<Self, BulkError> {
        let name = path.display().to_string();
        let failed = |source| BulkError::Write {
            to: name.clone(),
            source,
        };
        let file = match follow(path).map_err(failed)? {
            Target::Stdout => return Ok(Self::stdout()),
            Target::Descriptor(path) => path,
            Target::Path(path) => match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => return Err(BulkError::Directory(path)),
                Ok(found) if !found.is_file() => path,
                _ => {
                    let file = ReplacedFile::create(path, name.clone()).map_err(failed)?;
                    return Ok(Self(Kind::File(file)));
                }
            },
        };
        // What a descriptor leads to may be a file that has lines already.
        let stream = OpenOptions::new().append(true).open(&file);
        Ok(Self::stream(stream.map_err(failed)?, &name))
    }

    /// How errors call it.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Stream { name, .. } => name,
            Kind::File(file) => file.name(),
        }
    }

    /// Whether it is a file that appears when it is whole.
    pub fn is_file(&self) -> bool {
        matches!(self.0, Kind::File(_))
    }

    /// Writes what is left, and gives a file its name.
    ///
    /// # Errors
    /// When that fails.
    pub fn finish(self) -> Result<(), BulkError> {
        let to = self.name().to_owned();
        let finished = match self.0 {
            Kind::Stream { mut out, .. } => out.flush(),
            Kind::File(file) => file.finish(),
        };
        finished.map_err(|source| BulkError::Write { to, source })
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Stream { out, .. } => out.write(bytes),
            Kind::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Stream { out, .. } => out.flush(),
            Kind::File(file) => file.flush(),
        }
    }
}

/// What a path leads to.
enum Target {
    Stdout,
    /// A descriptor that this process has open, by the system's name for it.
    Descriptor(PathBuf),
    /// No link.
    Path(PathBuf),
}

/// Follows links one by one: those of descriptors lead to files that must not be replaced.
fn follow(path: &Path) -> io::Result<Target> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(descriptor) = descriptor(&path) {
            return Ok(match descriptor.as_str() {
                "1" | "stdout" => Target::Stdout,
                _ => Target::Descriptor(path),
            });
        }
        let Ok(to) = fs::read_link(&path) else {
            return Ok(Target::Path(path));
        };
        path = match path.parent() {
            // An absolute link takes the place of all of it.
            Some(parent) => parent.join(to),
            None => to,
        };
    }
    Err(io::Error::other("there are too many links"))
}

/// The descriptor that `/dev/stdout`, `/dev/fd/3` or `/proc/self/fd/3` means.
fn descriptor(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let own = format!("/proc/{}/fd/", std::process::id());
    let numbered = ["/dev/fd/", "/proc/self/fd/", &own];
    let number = numbered.iter().find_map(|at| text.strip_prefix(at));
    let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let named = ["stdout", "stderr", "stdin"];
    let named = named
        .into_iter()
        .find(|name| text == format!("/dev/{name}"));
    number.or(named).map(str::to_owned)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) {
        let mut destination = Destination::open(path).unwrap();
        destination.write_all(b"new").unwrap();
        destination.finish().unwrap();
    }

    #[test]
    fn links_stay_links_also_those_that_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        symlink("elsewhere/file", at("inner")).unwrap();
        symlink(at("inner"), at("outer")).unwrap();
        write(&at("outer"));
        assert!(at("outer").is_symlink() && at("inner").is_symlink());
        assert_eq!(fs::read(at("elsewhere/file")).unwrap(), b"new");
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 1);

        symlink(at("b"), at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        let error = Destination::open(&at("a")).err().unwrap();
        assert!(matches!(error, BulkError::Write { .. }), "{error}");
        let error = Destination::open(&at("elsewhere")).err().unwrap();
        assert!(matches!(error, BulkError::Directory(_)), "{error}");
    }

    #[test]
    fn a_descriptor_is_written_to_by_any_of_its_names() {
        let kind = |path: &str| match follow(Path::new(path)).unwrap() {
            Target::Stdout => "stdout",
            Target::Descriptor(_) => "descriptor",
            Target::Path(_) => "path",
        };
        for (path, expected) in [
            ("/dev/stdout", "stdout"),
            ("/dev/fd/1", "stdout"),
            ("/proc/self/fd/1", "stdout"),
            ("/dev/stderr", "descriptor"),
            ("/dev/fd/7", "descriptor"),
            ("/dev/null", "path"),
            ("/dev/fd/x", "path"),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}

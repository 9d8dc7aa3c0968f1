//! A folder of units on this machine, or on a file system that several machines have mounted.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::claims::{CLAIMS, Claims, LocalClaims};
use super::process::Process;
use super::storage::{Draft, LOGS, Lines, RUN, Storage};

/// How temporary files end.
const TEMPORARY: &str = ".tmp";

pub(super) struct LocalStorage {
    path: PathBuf,
}

impl LocalStorage {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn draft_path(&self, name: &str) -> PathBuf {
        self.path.join(RUN).join(format!("{name}{TEMPORARY}"))
    }
}

impl Storage for LocalStorage {
    fn begin(&self) -> io::Result<()> {
        for folder in [CLAIMS, LOGS] {
            fs::create_dir_all(self.path.join(folder))?;
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut temporary = NamedTempFile::new_in(folder)?;
        #[cfg(unix)]
        readable(temporary.as_file())?;
        temporary.write_all(content)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)?;
        sync_folder(folder)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn move_aside(&self) -> io::Result<Option<PathBuf>> {
        // What `DIR/` and `.` are called can be told only of the real path.
        let real = self.path.canonicalize()?;
        let mut number = 1_u32;
        loop {
            let mut name = real.clone().into_os_string();
            name.push(format!(".{number}"));
            let aside = PathBuf::from(name);
            if !aside.try_exists()? {
                fs::rename(&real, &aside)?;
                return Ok(Some(aside));
            }
            number += 1;
        }
    }

    fn claims(&self, process: &Process) -> io::Result<Box<dyn Claims>> {
        let folder = self.path.join(CLAIMS);
        Ok(Box::new(LocalClaims::new(folder, process.clone())?))
    }

    fn log(&self, name: &str) -> io::Result<Box<dyn Lines>> {
        let path = self.path.join(LOGS).join(name);
        let file = File::options().create_new(true).append(true).open(path)?;
        Ok(Box::new(file))
    }

    fn draft(&self, name: &str) -> io::Result<Draft> {
        let path = self.draft_path(name);
        Ok(Draft {
            file: File::create(&path)?,
            named: Some(TempPath::try_from_path(&path)?),
            path,
        })
    }

    fn remove_draft(&self, name: &str) {
        let _ = fs::remove_file(self.draft_path(name));
    }

    fn publish(&self, draft: Draft, name: &str) -> io::Result<bool> {
        draft.file.sync_all()?;
        // Windows renames no file that is open.
        drop(draft.file);
        let Some(named) = draft.named else {
            return Err(io::Error::other("a draft without a name"));
        };
        let path = self.path.join(name);
        match named.persist_noclobber(&path) {
            Ok(()) => {
                sync_folder(&self.path)?;
                Ok(true)
            }
            // A file system that answers twice tells of our own file, too.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // Who took this process for dead took the file away.
            Err(error) if error.error.kind() == ErrorKind::NotFound && self.has(name)? => Ok(false),
            Err(error) => Err(error.error),
        }
    }
}

impl Lines for File {
    fn add(&self, line: &[u8], _: bool) -> io::Result<()> {
        let mut file = self;
        file.write_all(line)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// As any new file: others of a cluster may be other users.
#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// A name is on disk when its folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems sync no folders.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

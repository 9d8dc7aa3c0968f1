//! The folder that units are written to.
//!
//! Its files are the units; `_manifest.json` appears when all are there; `_run/` is what processes keep
//! for themselves. Programs that read folders of Parquet files pass over names that begin with an
//! underscore.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::{NamedTempFile, TempPath};

use super::claims::{Attempt, Claims};
use super::error::{CorpusError, unread, unwritten};
use super::log::{Event, Log};
use super::manifest::Manifest;
use super::plan::{Plan, Unit};
use super::process::Process;
use super::shard::Shard;

/// How units' files end.
const ENDING: &str = "parquet";

/// How temporary files end.
const TEMPORARY: &str = ".tmp";

/// A folder with work in it.
pub struct Folder {
    path: PathBuf,
    claims: Claims,
    log: Log,
    process: Process,
}

impl Folder {
    /// Begins the work of a plan in a folder, or goes on with it. `shard` is for those who look at it.
    ///
    /// # Errors
    /// When the folder can't be written, or holds other work.
    pub fn begin(path: &Path, plan: &Plan, shard: Option<Shard>) -> Result<Self, CorpusError> {
        let run = Paths(path).run();
        let (claims, logs) = (Paths(path).claims(), Paths(path).logs());
        if !plan.is_begun_in(path)? && !run.is_dir() && has_files(path)? {
            return Err(CorpusError::NotAFolder(path.to_owned()));
        }
        for folder in [&claims, &logs] {
            fs::create_dir_all(folder).map_err(unwritten(folder))?;
        }
        write_json(&Paths(path).plan(), plan)?;
        if Manifest::of_finished(path, plan)?.is_none() {
            // There is more to do than it says.
            let manifest = Paths(path).manifest();
            match fs::remove_file(&manifest) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(unwritten(&manifest)(error));
                }
                _ => {}
            }
        }
        let process = Process::this();
        Ok(Self {
            claims: Claims::new(claims.clone(), process.clone()).map_err(unwritten(&claims))?,
            log: Log::create(&logs, &process, shard).map_err(unwritten(&logs))?,
            path: path.to_owned(),
            process,
        })
    }

    /// Gives a folder of other work another name, and says which; nothing where there is none.
    ///
    /// # Errors
    /// When it can't be renamed, or is no folder of this program.
    pub fn move_aside(path: &Path) -> Result<Option<PathBuf>, CorpusError> {
        if !Paths(path).run().is_dir() {
            return match has_files(path)? {
                true => Err(CorpusError::NotAFolder(path.to_owned())),
                false => Ok(None),
            };
        }
        // What `DIR/` and `.` are called can be told only of the real path.
        let real = path.canonicalize().map_err(unread(path))?;
        let mut number = 1_u32;
        loop {
            let mut name = real.clone().into_os_string();
            name.push(format!(".{number}"));
            let aside = PathBuf::from(name);
            match aside.try_exists().map_err(unread(&aside))? {
                true => number += 1,
                false => {
                    fs::rename(&real, &aside).map_err(unwritten(&aside))?;
                    return Ok(Some(aside));
                }
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a unit.
    pub fn unit_path(&self, unit: &Unit) -> PathBuf {
        unit_path(&self.path, unit)
    }

    /// Whether a unit is there.
    pub(super) fn has(&self, unit: &Unit) -> Result<bool, CorpusError> {
        let path = self.unit_path(unit);
        path.try_exists().map_err(unread(&path))
    }

    /// Takes the claim to a unit.
    pub(super) fn claim(&self, unit: &Unit) -> Result<Attempt, CorpusError> {
        let attempt = self.claims.attempt(&unit.name, |token| {
            let _ = fs::remove_file(self.temporary(unit, token));
        });
        let folder = Paths(&self.path).claims();
        let attempt = attempt.map_err(unwritten(&folder))?;
        if matches!(attempt, Attempt::Taken(_)) {
            self.tell(&Event::Claimed {
                unit: unit.name.clone(),
            })?;
        }
        Ok(attempt)
    }

    /// A file for a unit that isn't whole.
    pub(super) fn temporary_of(&self, unit: &Unit) -> PathBuf {
        self.temporary(unit, &self.process.token)
    }

    fn temporary(&self, unit: &Unit, token: &str) -> PathBuf {
        let name = format!("{}.{token}{TEMPORARY}", unit.name);
        Paths(&self.path).run().join(name)
    }

    /// Gives a file that is whole and on disk its unit's name. False when the unit was there already:
    /// it stays as it is.
    pub(super) fn publish(&self, temporary: &Path, unit: &Unit) -> Result<bool, CorpusError> {
        let path = self.unit_path(unit);
        let file = TempPath::try_from_path(temporary).map_err(unwritten(temporary))?;
        match file.persist_noclobber(&path) {
            Ok(()) => {
                sync_folder(&self.path).map_err(unwritten(&self.path))?;
                Ok(true)
            }
            // A file system that answers twice tells of our own file, too.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // Who took this process for dead took the file away.
            Err(error) if error.error.kind() == ErrorKind::NotFound && self.has(unit)? => Ok(false),
            Err(error) => Err(unwritten(&path)(error.error)),
        }
    }

    pub(super) fn tell(&self, event: &Event) -> Result<(), CorpusError> {
        let logs = Paths(&self.path).logs();
        self.log.write(event).map_err(unwritten(&logs))
    }
}

/// The file of a unit in a folder.
pub(super) fn unit_path(folder: &Path, unit: &Unit) -> PathBuf {
    folder.join(format!("{}.{ENDING}", unit.name))
}

/// The names of the units that are there, planned or not.
pub(super) fn units_in(folder: &Path) -> Result<HashSet<String>, CorpusError> {
    let mut units = HashSet::new();
    for entry in fs::read_dir(folder).map_err(unread(folder))? {
        let name = entry.map_err(unread(folder))?.file_name();
        let name = name.to_string_lossy();
        if let Some(unit) = name
            .strip_suffix(ENDING)
            .and_then(|name| name.strip_suffix('.'))
        {
            units.insert(unit.to_owned());
        }
    }
    Ok(units)
}

/// Where things are in a folder.
pub(super) struct Paths<'a>(pub(super) &'a Path);

impl Paths<'_> {
    fn run(&self) -> PathBuf {
        self.0.join("_run")
    }

    fn plan(&self) -> PathBuf {
        self.run().join("plan.json")
    }

    pub(super) fn claims(&self) -> PathBuf {
        self.run().join("claims")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.run().join("log")
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.0.join("_manifest.json")
    }
}

/// The plan of the work in a folder; nothing where none was begun.
///
/// # Errors
/// When it can't be read, or is of another version of this program.
pub fn read_plan(folder: &Path) -> Result<Option<Plan>, CorpusError> {
    let path = Paths(folder).plan();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unread(&path)(error)),
    };
    let plan = serde_json::from_slice(&bytes);
    plan.map(Some).map_err(|error| CorpusError::Damaged {
        path,
        why: error.to_string(),
    })
}

fn has_files(folder: &Path) -> Result<bool, CorpusError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unread(folder)(error)),
    }
}

/// Writes a file that appears when it is whole.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CorpusError> {
    let failed = unwritten(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut temporary = NamedTempFile::new_in(folder)?;
        #[cfg(unix)]
        readable(temporary.as_file())?;
        serde_json::to_writer(io::BufWriter::new(temporary.as_file_mut()), value)?;
        temporary.write_all(b"\n")?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    write().map_err(failed)
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

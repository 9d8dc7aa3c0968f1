//! The folder that units are written to.
//!
//! Its files are the units; `_manifest.json` appears when all are there; `_run/` is what processes keep
//! for themselves. Programs that read folders of Parquet files pass over names that begin with an
//! underscore.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::claims::{Attempt, CLAIMS, Claims};
use super::error::{CorpusError, unread, unwritten};
use super::log::{Event, LOGS, Log};
use super::manifest::Manifest;
use super::plan::{Plan, Unit};
use super::process::Process;
use super::settings::UnitFormat;
use super::shard::Shard;
use super::storage::{Draft, RUN, Storage, storage};

const PLAN: &str = "_run/plan.json";
pub(super) const MANIFEST: &str = "_manifest.json";

/// A folder with work in it.
pub struct Folder {
    path: PathBuf,
    storage: Box<dyn Storage>,
    claims: Box<dyn Claims>,
    log: Log,
    process: Process,
    format: UnitFormat,
    /// Units that are known to be there.
    there: Mutex<HashSet<String>>,
}

impl Folder {
    /// Begins the work of a plan in a folder, or goes on with it. The path may be the URL of one in an
    /// object store. `shard` is for those who look at it.
    ///
    /// # Errors
    /// When the folder can't be written, or holds other work.
    pub fn begin(path: &Path, plan: &Plan, shard: Option<Shard>) -> Result<Self, CorpusError> {
        let storage = open(path)?;
        // In this order: others that begin now have files in `_run` before there are any beside it.
        let has_files = list(&*storage, path, "")?.iter().any(|name| name != RUN);
        let has_run = !list(&*storage, path, RUN)?.is_empty();
        if !plan.is_begun_in(path)? && has_files && !has_run {
            return Err(CorpusError::NotAFolder(path.to_owned()));
        }
        let run = path.join(RUN);
        storage.begin().map_err(unwritten(&run))?;
        write_json(&*storage, path, PLAN, plan)?;
        if Manifest::of_finished(path, plan)?.is_none() {
            // There is more to do than it says.
            let manifest = path.join(MANIFEST);
            storage.remove(MANIFEST).map_err(unwritten(&manifest))?;
        }
        let process = Process::this();
        Ok(Self {
            claims: storage.claims(&process).map_err(unwritten(&run))?,
            log: Log::create(&*storage, &process, shard).map_err(unwritten(&run))?,
            there: Mutex::new(units_in(&*storage, path, plan)?),
            format: plan.settings.format,
            path: path.to_owned(),
            storage,
            process,
        })
    }

    /// Gives a folder of other work another name, and says which; nothing where there is none.
    ///
    /// # Errors
    /// When it can't be renamed, or is no folder of this program.
    pub fn move_aside(path: &Path) -> Result<Option<PathBuf>, CorpusError> {
        let storage = open(path)?;
        if list(&*storage, path, RUN)?.is_empty() {
            return match list(&*storage, path, "")?.is_empty() {
                false => Err(CorpusError::NotAFolder(path.to_owned())),
                true => Ok(None),
            };
        }
        storage.move_aside().map_err(unwritten(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a unit: of several, the one that is written last.
    pub fn unit_path(&self, unit: &Unit) -> PathBuf {
        let name = file_name(unit, self.format.last_ending());
        self.path.join(name)
    }

    /// Whether a unit is there.
    pub(super) fn has(&self, unit: &Unit) -> Result<bool, CorpusError> {
        let there = || self.there.lock().unwrap_or_else(PoisonError::into_inner);
        if there().contains(&unit.name) {
            return Ok(true);
        }
        let name = file_name(unit, self.format.last_ending());
        let has = self.storage.has(&name);
        let has = has.map_err(unread(&self.unit_path(unit)))?;
        if has {
            there().insert(unit.name.clone());
        }
        Ok(has)
    }

    /// Takes the claim to a unit.
    pub(super) fn claim(&self, unit: &Unit) -> Result<Attempt, CorpusError> {
        let attempt = self.claims.attempt(&unit.name, &|token| {
            for ending in self.format.endings() {
                self.storage.remove_draft(&draft_name(unit, token, ending));
            }
        });
        let attempt = attempt.map_err(unwritten(&self.path.join(CLAIMS)))?;
        if matches!(attempt, Attempt::Taken(_)) {
            self.tell(&Event::Claimed {
                unit: unit.name.clone(),
            })?;
        }
        Ok(attempt)
    }

    /// A file for a unit that isn't whole.
    pub(super) fn draft(&self, unit: &Unit, ending: &str) -> Result<Draft, CorpusError> {
        let name = draft_name(unit, &self.process.token, ending);
        let draft = self.storage.draft(&name);
        draft.map_err(unwritten(&self.path.join(RUN)))
    }

    /// Gives files that are whole their unit's name, in the order of their endings. False when the unit
    /// was there already: it stays as it is.
    pub(super) fn publish(&self, drafts: Vec<Draft>, unit: &Unit) -> Result<bool, CorpusError> {
        let mut is_first = false;
        for (draft, ending) in drafts.into_iter().zip(self.format.endings()) {
            let name = file_name(unit, ending);
            let published = self.storage.publish(draft, &name);
            // Of a unit that somebody has begun to publish, the first files are as ours.
            is_first = published.map_err(unwritten(&self.path.join(name)))?;
        }
        Ok(is_first)
    }

    pub(super) fn tell(&self, event: &Event) -> Result<(), CorpusError> {
        let told = self.log.write(event);
        told.map_err(unwritten(&self.path.join(LOGS)))
    }
}

fn file_name(unit: &Unit, ending: &str) -> String {
    format!("{}.{ending}", unit.name)
}

fn draft_name(unit: &Unit, token: &str, ending: &str) -> String {
    format!("{}.{token}.{ending}", unit.name)
}

/// # Errors
/// When the folder is a URL that isn't understood.
pub(super) fn open(folder: &Path) -> Result<Box<dyn Storage>, CorpusError> {
    storage(folder).map_err(|error| CorpusError::Input {
        argument: folder.display().to_string(),
        why: error.to_string(),
    })
}

pub(super) fn list(
    storage: &dyn Storage,
    path: &Path,
    folder: &str,
) -> Result<Vec<String>, CorpusError> {
    let listed = storage.list(folder);
    listed.map_err(unread(&path.join(folder)))
}

/// The names of the units that are there, planned or not.
pub(super) fn units_in(
    storage: &dyn Storage,
    path: &Path,
    plan: &Plan,
) -> Result<HashSet<String>, CorpusError> {
    let names = list(storage, path, "")?.into_iter();
    let ending = plan.settings.format.last_ending();
    let units = names.filter_map(|name| {
        let unit = name.strip_suffix(ending)?.strip_suffix('.')?;
        Some(unit.to_owned())
    });
    Ok(units.collect())
}

/// The plan of the work in a folder; nothing where none was begun.
///
/// # Errors
/// When it can't be read, or is of another version of this program.
pub fn read_plan(folder: &Path) -> Result<Option<Plan>, CorpusError> {
    let path = folder.join(PLAN);
    let content = open(folder)?.read(PLAN).map_err(unread(&path))?;
    let plan = content.map(|content| serde_json::from_slice(&content));
    plan.transpose().map_err(|error| CorpusError::Damaged {
        path,
        why: error.to_string(),
    })
}

/// Writes a file that appears when it is whole.
pub(super) fn write_json(
    storage: &dyn Storage,
    folder: &Path,
    name: &str,
    value: &impl Serialize,
) -> Result<(), CorpusError> {
    let write = || -> io::Result<()> {
        let mut content = serde_json::to_vec(value)?;
        content.push(b'\n');
        storage.write(name, &content)
    };
    write().map_err(unwritten(&folder.join(name)))
}

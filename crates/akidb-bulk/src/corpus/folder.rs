//! The folder that units are written to.
//!
//! Its files are the units; `_manifest.json` appears when all are there; `_run/` is what processes keep
//! for themselves. Programs that read folders of Parquet files pass over names that begin with an
//! underscore.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::claims::{Attempt, CLAIMS, Claims};
use super::error::{CorpusError, unread, unwritten};
use super::folder_files::{MANIFEST, PLAN, list, open, units_in, write_json};
use super::log::{Event, Log};
use super::manifest::Manifest;
use super::plan::{Plan, Unit};
use super::process::Process;
use super::settings::UnitFormat;
use super::shard::Shard;
use super::storage::{Draft, LOGS, RUN, Storage};

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

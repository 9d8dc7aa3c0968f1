//! What the work as a whole has come to.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{CorpusError, unread};
use super::fingerprint::Fingerprint;
use super::folder_files::{MANIFEST, open, units_in, write_json};
use super::log::{Event, read_all};
use super::parallel::in_parallel;
use super::plan::{Plan, Unit};
use super::shard::Shard;
use super::storage::{LOGS, Storage};
use super::unit_file::{UnitSummary, read_summary};

/// `_manifest.json`: written when every unit is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What all vectors depend on.
    pub fingerprint: Fingerprint,
    /// Rows of the input.
    pub rows_in: u64,
    /// Rows that have a vector.
    pub rows_out: u64,
    /// Rows that have none.
    pub errors: u64,
    /// Vectors: more than rows where texts are split.
    pub vectors: u64,
    /// Tokens of all vectors.
    pub tokens: u64,
    /// Texts that were cut off.
    pub truncated: u64,
    /// Time that was spent on units, of all processes together.
    pub seconds: f64,
    /// The units, in the order of the input.
    pub units: Vec<ManifestUnit>,
}

/// A unit in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestUnit {
    /// Its name.
    pub name: String,
    /// The file that its rows are of.
    pub file: String,
    /// The first of them.
    pub first_row: u64,
    /// How the work on it went.
    #[serde(flatten)]
    pub summary: UnitSummary,
}

impl Manifest {
    /// Looks at every unit, and writes the manifest.
    ///
    /// # Errors
    /// When units are missing, or rows are.
    pub fn finish(folder: &Path, plan: &Plan) -> Result<Self, CorpusError> {
        if !plan.is_begun_in(folder)? {
            return Err(CorpusError::NoWork(folder.to_owned()));
        }
        let storage = open(folder)?;
        let there = units_in(&*storage, folder, plan)?;
        let missing = plan.units.iter().filter(|unit| !there.contains(&unit.name));
        let missing: Vec<&Unit> = missing.collect();
        if !missing.is_empty() {
            return Err(CorpusError::Missing {
                count: missing.len(),
                missing: by_shard(&logs(&*storage, folder)?, plan, &missing)?,
                units: plan.units.len(),
            });
        }
        let mut total = UnitSummary::default();
        let mut units = Vec::with_capacity(plan.units.len());
        let summaries = in_parallel(&plan.units, |unit| {
            read_summary(&folder.join(&unit.name), plan.settings.format)
        })?;
        for (unit, summary) in plan.units.iter().zip(summaries) {
            if summary.rows != unit.rows {
                return Err(CorpusError::Damaged {
                    path: folder.join(&unit.name),
                    why: format!("it has {} rows, not {}", summary.rows, unit.rows),
                });
            }
            total.add(&summary);
            units.push(ManifestUnit {
                name: unit.name.clone(),
                file: plan.file(unit)?.name.clone(),
                first_row: unit.first_row,
                summary,
            });
        }
        let manifest = Self {
            fingerprint: plan.fingerprint.clone(),
            rows_in: plan.rows(),
            rows_out: total.embedded,
            errors: total.errors,
            vectors: total.vectors,
            tokens: total.tokens,
            truncated: total.truncated,
            seconds: seconds(&logs(&*storage, folder)?, plan),
            units,
        };
        if manifest.rows_in != manifest.rows_out + manifest.errors {
            return Err(CorpusError::RowsLost {
                rows_in: manifest.rows_in,
                rows_out: manifest.rows_out,
                errors: manifest.errors,
            });
        }
        write_json(&*storage, folder, MANIFEST, &manifest)?;
        Ok(manifest)
    }

    /// The manifest of a plan whose work is done: every unit is there, and it was looked at.
    pub fn of_finished(folder: &Path, plan: &Plan) -> Result<Option<Self>, CorpusError> {
        let storage = open(folder)?;
        let Ok(Some(content)) = storage.read(MANIFEST) else {
            return Ok(None);
        };
        let Ok(manifest) = serde_json::from_slice::<Self>(&content) else {
            return Ok(None);
        };
        let there = units_in(&*storage, folder, plan)?;
        let names = manifest.units.iter().map(|unit| &unit.name);
        let is_same = names.eq(plan.units.iter().map(|unit| &unit.name));
        let is_whole = plan.units.iter().all(|unit| there.contains(&unit.name));
        Ok((is_same && is_whole).then_some(manifest))
    }
}

fn logs(storage: &dyn Storage, folder: &Path) -> Result<Vec<Vec<Event>>, CorpusError> {
    read_all(storage).map_err(unread(&folder.join(LOGS)))
}

/// Missing units by name, or by the shards that were to make them.
fn by_shard(
    logs: &[Vec<Event>],
    plan: &Plan,
    missing: &[&Unit],
) -> Result<Vec<String>, CorpusError> {
    let mut counts: Vec<usize> = logs
        .iter()
        .flatten()
        .filter_map(|event| match event {
            Event::Start { shard, .. } => shard.map(Shard::count),
            _ => None,
        })
        .collect();
    counts.dedup();
    let [count] = counts[..] else {
        return Ok(missing.iter().map(|unit| unit.name.clone()).collect());
    };
    let missing: HashSet<&str> = missing.iter().map(|unit| unit.name.as_str()).collect();
    let mut shards = Vec::new();
    for index in 1..=count {
        let shard = Shard::new(index, count)?;
        let units = shard.of(&plan.units);
        let units = units
            .iter()
            .filter(|unit| missing.contains(unit.name.as_str()));
        match units.count() {
            0 => {}
            1 => shards.push(format!("1 unit of shard {shard}")),
            more => shards.push(format!("{more} units of shard {shard}")),
        }
    }
    Ok(shards)
}

/// Time that was spent on the plan's units; on each by the process that has written it.
fn seconds(logs: &[Vec<Event>], plan: &Plan) -> f64 {
    let written = logs.iter().flatten().filter_map(|event| match event {
        Event::Written { unit, seconds, .. } => Some((unit.as_str(), *seconds)),
        _ => None,
    });
    let written: BTreeMap<&str, f64> = written.collect();
    let units = plan.units.iter();
    let seconds = units.filter_map(|unit| written.get(unit.name.as_str()));
    // To the millisecond: a number of few digits is the same when it is read again.
    (seconds.sum::<f64>() * 1e3).round() / 1e3
}

//! How far the work in a folder is, for those who look on.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::claims::CLAIMS;
use super::error::{CorpusError, unread};
use super::folder_files::{MANIFEST, list, open, read_plan, units_in};
use super::log::{Event, read_all};
use super::shard::Shard;
use super::storage::LOGS;

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Units of the whole.
    pub units: usize,
    /// Units that are there.
    pub units_there: usize,
    /// Units that somebody works on, or was working on when it was killed.
    pub units_claimed: usize,
    /// Rows of the whole.
    pub rows: u64,
    /// Rows of units that are there.
    pub rows_there: u64,
    /// Rows that have failed.
    pub errors: u64,
    /// The manifest is written.
    pub finished: bool,
    /// All processes that have worked here, in no order.
    pub workers: Vec<Worker>,
    /// Shards, where there are any.
    pub shards: Vec<ShardStatus>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    /// Its number on its machine.
    pub pid: u32,
    /// Its shard, where it has one.
    pub shard: Option<Shard>,
    /// Units that it has written.
    pub units: usize,
    /// Rows of these.
    pub rows: u64,
    /// Tokens of these.
    pub tokens: u64,
    /// Time that it has spent on these.
    pub seconds: f64,
    /// The unit that it works on, or did when it was killed.
    pub unit: Option<String>,
    /// It has done all that it was to do.
    pub ended: bool,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardStatus {
    /// Which one.
    pub shard: Shard,
    /// Its units.
    pub units: usize,
    /// Those that are there.
    pub units_there: usize,
}

impl Status {
    /// Looks into a folder; nothing is changed.
    ///
    /// # Errors
    /// When no work was begun there, or it can't be read.
    pub fn read(folder: &Path) -> Result<Self, CorpusError> {
        let plan = read_plan(folder)?;
        let plan = plan.ok_or_else(|| CorpusError::NoWork(folder.to_owned()))?;
        let storage = open(folder)?;
        let there = units_in(&*storage, folder, &plan)?;
        let claimed = list(&*storage, folder, CLAIMS)?.into_iter();
        let claimed: Vec<String> = claimed
            .filter(|name| !name.starts_with('.') && !there.contains(name))
            .collect();
        let done = plan.units.iter().filter(|unit| there.contains(&unit.name));
        let logs = read_all(&*storage).map_err(unread(&folder.join(LOGS)))?;
        let workers: Vec<Worker> = logs.iter().filter_map(|log| Worker::of(log)).collect();
        let counts = workers
            .iter()
            .filter_map(|worker| Some(worker.shard?.count()));
        let mut shards = Vec::new();
        if let Some(count) = counts.max() {
            for index in 1..=count {
                let shard = Shard::new(index, count)?;
                let units = shard.of(&plan.units);
                shards.push(ShardStatus {
                    shard,
                    units: units.len(),
                    units_there: units
                        .iter()
                        .filter(|unit| there.contains(&unit.name))
                        .count(),
                });
            }
        }
        let errors: HashMap<&str, u64> = logs
            .iter()
            .flatten()
            .filter_map(|event| match event {
                Event::Written { unit, errors, .. } => Some((unit.as_str(), *errors)),
                _ => None,
            })
            .collect();
        let errors = done
            .clone()
            .filter_map(|unit| errors.get(unit.name.as_str()))
            .sum();
        Ok(Self {
            units: plan.units.len(),
            units_there: done.clone().count(),
            units_claimed: claimed.len(),
            rows: plan.rows(),
            rows_there: done.map(|unit| unit.rows).sum(),
            errors,
            finished: storage
                .has(MANIFEST)
                .map_err(unread(&folder.join(MANIFEST)))?,
            workers,
            shards,
        })
    }
}

impl Worker {
    fn of(log: &[Event]) -> Option<Self> {
        let Some(Event::Start { pid, shard, .. }) = log.first() else {
            return None;
        };
        let mut worker = Self {
            pid: *pid,
            shard: *shard,
            units: 0,
            rows: 0,
            tokens: 0,
            seconds: 0.0,
            unit: None,
            ended: false,
        };
        for event in log {
            match event {
                Event::Start { .. } => {}
                Event::Claimed { unit } => worker.unit = Some(unit.clone()),
                Event::Written {
                    unit,
                    rows,
                    tokens,
                    seconds,
                    ..
                } => {
                    worker.units += 1;
                    worker.rows += rows;
                    worker.tokens += tokens;
                    worker.seconds += seconds;
                    worker.unit = worker.unit.filter(|working| working != unit);
                }
                Event::End => (worker.ended, worker.unit) = (true, None),
            }
        }
        Some(worker)
    }
}

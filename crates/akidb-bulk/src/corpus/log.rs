//! What each process has done in a folder: one file a process, one JSON object a line.

use std::io;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::shard::Shard;
use super::storage::{LOGS, Lines, Storage};

/// How they end.
const ENDING: &str = ".jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    /// A process begins.
    Start {
        token: String,
        host: String,
        pid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        shard: Option<Shard>,
    },
    /// It begins with a unit.
    Claimed { unit: String },
    /// The unit is there.
    Written {
        unit: String,
        rows: u64,
        errors: u64,
        tokens: u64,
        seconds: f64,
    },
    /// It ends, done or interrupted.
    End,
}

/// The log of this process.
pub(super) struct Log {
    lines: Box<dyn Lines>,
}

impl Log {
    pub(super) fn create(
        storage: &dyn Storage,
        process: &Process,
        shard: Option<Shard>,
    ) -> io::Result<Self> {
        let lines = storage.log(&format!("{}{ENDING}", process.token))?;
        let log = Self { lines };
        log.write(&Event::Start {
            token: process.token.clone(),
            host: process.host.clone(),
            pid: process.pid,
            shard,
        })?;
        Ok(log)
    }

    /// A line.
    pub(super) fn write(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let now = matches!(event, Event::Start { .. } | Event::End);
        self.lines.add(&line, now)
    }
}

/// The events of all processes, one list a process. A last line that was cut off is left out.
pub(super) fn read_all(storage: &dyn Storage) -> io::Result<Vec<Vec<Event>>> {
    let mut names = storage.list(LOGS)?;
    names.retain(|name| name.ends_with(ENDING));
    names.sort();
    let read = |name: &String| {
        let content = storage.read(&format!("{LOGS}/{name}"))?.unwrap_or_default();
        let lines = content.split(|byte| *byte == b'\n');
        let events = lines.map_while(|line| serde_json::from_slice(line).ok());
        Ok(events.collect())
    };
    names.iter().map(read).collect()
}

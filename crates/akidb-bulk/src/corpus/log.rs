//! What each process has done in a folder: one file a process, one JSON object a line.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{CorpusError, unread};
use super::process::Process;
use super::shard::Shard;

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
    file: File,
}

impl Log {
    pub(super) fn create(
        folder: &Path,
        process: &Process,
        shard: Option<Shard>,
    ) -> io::Result<Self> {
        let path = folder.join(format!("{}.jsonl", process.token));
        let file = File::options().create_new(true).append(true).open(path)?;
        let log = Self { file };
        log.write(&Event::Start {
            token: process.token.clone(),
            host: process.host.clone(),
            pid: process.pid,
            shard,
        })?;
        Ok(log)
    }

    /// A line at once.
    pub(super) fn write(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        (&self.file).write_all(&line)
    }
}

/// The events of all processes, one list a process. A last line that was cut off is left out.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Vec<Event>>, CorpusError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread(folder))? {
        paths.push(entry.map_err(unread(folder))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(unread(path))?;
        let events = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        Ok(events.collect())
    };
    paths.iter().map(read).collect()
}

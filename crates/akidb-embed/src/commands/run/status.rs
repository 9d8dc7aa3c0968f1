//! `run --status`: how far the work in a folder is.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use akidb_bulk::corpus::Status;

use crate::error::CliError;
use crate::figures::{counted, grouped};
use crate::print::print;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(folder: &Path, watch: bool) -> Result<(), CliError> {
    loop {
        let status = Status::read(folder)?;
        let table = table(&status);
        if !watch {
            return print(&table);
        }
        print(&format!("{CLEAR}{table}"))?;
        if status.finished {
            return Ok(());
        }
        sleep(EVERY);
    }
}

fn table(status: &Status) -> String {
    let percent = status.rows_there as f64 * 100.0 / status.rows.max(1) as f64;
    let mut table = format!(
        "{} of {} there, {} of {} ({percent:.1} %), {}, {} worked on{}\n",
        grouped(status.units_there as u64),
        counted(status.units as u64, "unit"),
        grouped(status.rows_there),
        counted(status.rows, "row"),
        counted(status.errors, "error"),
        grouped(status.units_claimed as u64),
        if status.finished { "; finished" } else { "" },
    );
    if !status.shards.is_empty() {
        table.push_str("\nshard      units   there\n");
    }
    for shard in &status.shards {
        table.push_str(&format!(
            "{:<9} {:>6} {:>7}\n",
            shard.shard.to_string(),
            shard.units,
            shard.units_there
        ));
    }
    table.push_str("\nprocess    shard     units        rows  tokens/s  state\n");
    for worker in &status.workers {
        let state = match (&worker.unit, worker.ended) {
            (_, true) => "done".to_owned(),
            (Some(unit), _) => format!("at {unit}"),
            (None, _) => "ended early, or between two units".to_owned(),
        };
        table.push_str(&format!(
            "{:<10} {:<7} {:>7} {:>11} {:>9}  {state}\n",
            worker.pid,
            worker
                .shard
                .map_or("-".to_owned(), |shard| shard.to_string()),
            worker.units,
            grouped(worker.rows),
            grouped((worker.tokens as f64 / worker.seconds.max(1e-3)) as u64),
        ));
    }
    table
}

//! What is said before the work and after it.

use std::path::Path;
use std::time::Duration;

use akidb_bulk::corpus::{Manifest, Plan, Runner, Shard, Unit};

use super::progress::Done;
use crate::error::CliError;
use crate::figures::{counted, grouped, time};
use crate::message::{failure, message};

/// `60 files, 200 000 rows, 60 units; at most 180 MB of memory`.
pub(super) fn before(plan: &Plan, units: &[Unit], runner: &Runner<'_>) -> String {
    let now = memory_stats::memory_stats().map_or(0, |memory| memory.physical_mem as u64);
    let most = runner.most_bytes().saturating_add(now);
    let of = match units.len() == plan.units.len() {
        true => String::new(),
        false => format!(" of {}", grouped(plan.units.len() as u64)),
    };
    format!(
        "{}, {}, {}{of}; at most {} MB of memory, unless rows are longer than 8 MB",
        counted(plan.files.len() as u64, "file"),
        counted(plan.rows(), "row"),
        counted(units.len() as u64, "unit"),
        grouped(most.div_ceil(1_000_000)),
    )
}

/// After work that this process has done: what it has done, and what there is.
pub(super) fn done(
    manifest: &Manifest,
    done: &Done,
    elapsed: Duration,
    out: &Path,
    rate: f64,
) -> Result<(), CliError> {
    if done.units_written > 0 {
        message(format_args!("{}", work(done, elapsed)));
    }
    self::manifest(manifest, out, rate)
}

fn work(done: &Done, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let mut line = format!(
        "{}, {}, {}, {} tokens/s, {} rows/s",
        counted(done.summary.rows, "row"),
        counted(done.summary.tokens, "token"),
        time(seconds),
        grouped((done.summary.tokens as f64 / seconds).round() as u64),
        grouped((done.summary.rows as f64 / seconds).round() as u64),
    );
    if done.units_there > 0 {
        line.push_str(&format!(
            "; {} there before",
            counted(done.units_there, "unit")
        ));
    }
    line
}

/// The last line: rows in, rows out, errors, where.
pub(super) fn manifest(manifest: &Manifest, out: &Path, rate: f64) -> Result<(), CliError> {
    if manifest.errors as f64 > rate * manifest.rows_in as f64 {
        let mut first = manifest.units.iter().filter_map(|unit| {
            let error = unit.summary.first_error.as_ref()?;
            Some(format!("{}, {error}", unit.file))
        });
        return Err(akidb_bulk::corpus::CorpusError::TooManyErrors {
            errors: manifest.errors,
            rows: manifest.rows_in,
            rate,
            first: first.next().unwrap_or_default(),
        }
        .into());
    }
    message(format_args!(
        "{} in, {} out, {} → {}",
        counted(manifest.rows_in, "row"),
        grouped(manifest.rows_out),
        counted(manifest.errors, "error"),
        out.display()
    ));
    Ok(())
}

/// The last line of a shard.
pub(super) fn shard(shard: Shard, done: &Done, elapsed: Duration, out: &Path) {
    message(format_args!(
        "shard {shard}: {}; {} → {}",
        work(done, elapsed),
        counted(done.summary.errors, "error"),
        out.display()
    ));
}

/// After an interrupt.
pub(super) fn stopped(done: &Done, units: &[Unit], out: &Path) {
    let there = done.units_written + done.units_there;
    failure(format_args!(
        "interrupted: {} of {} in {}; the same command goes on",
        grouped(there),
        counted(units.len() as u64, "unit"),
        out.display()
    ));
}

//! `models`: fetching, showing, checking, removing and carrying models.

mod bundle;
mod copying;
mod default;
mod fetching;
mod known;
mod list;
mod pull;
mod remove;
mod show;
mod source;
mod vectors;
mod verify;

use std::error::Error;
use std::time::Duration;

use akidb_models::Unreadable;
use clap::{Args, Subcommand};
use indicatif::ProgressStyle;

use crate::error::CliError;
use crate::hints::models_hint;
use crate::message::message;

/// How often a line says how far something has come where no terminal is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Smaller files are over before their bar is read.
const SMALLEST_BAR: u64 = 1_000_000;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed models list
  akidb-embed models pull qwen3-embedding-0.6b")]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Fetch a model, or what is missing or damaged of it
    Pull(pull::PullArgs),
    /// Show which models are here, and which can be fetched by name
    List(list::ListArgs),
    /// Show what is known of a model
    Show(show::ShowArgs),
    /// Show or set the model that is meant where none is named
    Default(default::DefaultArgs),
    /// Read models again, compare their checksums, and look at their vectors
    Verify(verify::VerifyArgs),
    /// Delete models that this program has fetched
    Remove(remove::RemoveArgs),
    /// Write a model into one file
    Export(bundle::ExportArgs),
    /// Install a model from such a file
    Import(bundle::ImportArgs),
}

pub(crate) fn run(args: &ModelsArgs) -> Result<(), CliError> {
    match &args.command {
        ModelsCommand::Pull(args) => pull::run(args),
        ModelsCommand::List(args) => list::run(args),
        ModelsCommand::Show(args) => show::run(args),
        ModelsCommand::Default(args) => default::run(args),
        ModelsCommand::Verify(args) => verify::run(args),
        ModelsCommand::Remove(args) => remove::run(args),
        ModelsCommand::Export(args) => bundle::export(args),
        ModelsCommand::Import(args) => bundle::import(args),
    }
}

/// Says of which models nothing can be said, and why.
fn tell_unreadable(models: &[Unreadable]) {
    for Unreadable { error, .. } in models {
        let cause = error.source().map(|source| format!(": {source}"));
        let hint = models_hint(error).unwrap_or_default();
        message(format_args!("{error}{}; {hint}", cause.unwrap_or_default()));
    }
}

/// A bar that counts bytes.
fn bar_style() -> ProgressStyle {
    let template = "{bar:24} {percent:>3}%  {decimal_bytes:>9} of {decimal_total_bytes:9} \
                    {decimal_bytes_per_sec:>11}, {eta:>3} left  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A number of bytes in few characters, in powers of 1000.
fn bytes(n: u64) -> String {
    let (unit, factor) = match n {
        1_000_000_000.. => ("GB", 1e9),
        1_000_000.. => ("MB", 1e6),
        1_000.. => ("kB", 1e3),
        _ => return format!("{n} B"),
    };
    let value = n as f64 / factor;
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_are_short() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (11_423_705, "11 MB"),
            (1_191_586_416, "1.2 GB"),
            (15_130_000_000, "15 GB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}

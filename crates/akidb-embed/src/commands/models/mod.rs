//! `models`: fetching, showing, checking, removing and carrying models.

mod bundle;
mod fetching;
mod list;
mod pull;
mod remove;
mod show;
mod source;
mod verify;

use clap::{Args, Subcommand};

use crate::error::CliError;

#[derive(Debug, Args)]
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
    /// Read models again and compare their checksums
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
        ModelsCommand::Verify(args) => verify::run(args),
        ModelsCommand::Remove(args) => remove::run(args),
        ModelsCommand::Export(args) => bundle::export(args),
        ModelsCommand::Import(args) => bundle::import(args),
    }
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

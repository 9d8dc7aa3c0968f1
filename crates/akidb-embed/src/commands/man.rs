//! `man`: manual pages, one a command, for those who package the program.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed man /usr/local/share/man/man1
  akidb-embed man .")]
pub(crate) struct ManArgs {
    /// Where to; made if missing
    directory: PathBuf,
}

pub(crate) fn run(args: &ManArgs, command: clap::Command) -> Result<(), CliError> {
    let failed = |source| CliError::Write {
        to: args.directory.display().to_string(),
        source,
    };
    fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(with_examples(command), &args.directory).map_err(failed)
}

/// Pages show what stands after the options, and nothing that stands before them.
fn with_examples(command: clap::Command) -> clap::Command {
    let help = [command.get_before_help(), command.get_after_help()];
    let help: Vec<_> = help
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    command
        .after_help(help.join("\n\n"))
        .mut_subcommands(with_examples)
}

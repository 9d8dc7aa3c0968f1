//! `completions`: arguments that a shell completes.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::error::CliError;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed completions bash > ~/.local/share/bash-completion/completions/akidb-embed
  akidb-embed completions zsh > ~/.zfunc/_akidb-embed")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, command: &mut clap::Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, command, name, &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(CliError::stdout)
}

//! The command line: reads arguments, runs one command, reports what failed.
#![forbid(unsafe_code)]

mod args;
mod choices;
mod commands;
mod error;
mod input;
mod message;
mod onnxruntime_args;
mod output;
mod progress;
mod text;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use akidb_embedding::env;

use crate::args::Cli;
use crate::error::CliError;

/// Gives memory that is free back to the system: glibc keeps what its arenas once had.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = env::AKIDB_LOG.get().map(|level| level.parse());
    let level: Option<LevelFilter> = match level.transpose() {
        Ok(level) => level,
        Err(error) => {
            let name = env::AKIDB_LOG.name;
            return CliError::Usage(format!("{name}: {error}")).report();
        }
    };
    if !cli.command.logs_itself() {
        tracing_subscriber::fmt()
            .with_max_level(level.unwrap_or(LevelFilter::WARN))
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .without_time()
            .init();
    }
    match commands::run(cli.command, level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

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

/// A thread of its own gives memory that is free for some seconds back to the system, also when nobody
/// asks for any: glibc keeps what its arenas once had.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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

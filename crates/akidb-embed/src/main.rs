//! The command line: reads arguments, runs one command, reports what failed.
#![forbid(unsafe_code)]

mod args;
mod cli;
mod commands;
mod error;
mod hints;
mod message;
mod print;
mod text;
mod waiting;

use std::process::ExitCode;

/// Gives memory that is free back to the system: glibc keeps what its arenas once had.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}

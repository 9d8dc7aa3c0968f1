//! The command line as a program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Gives memory that is free back to the system: glibc keeps what its arenas once had.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    akidb_embed::main(std::env::args_os()).into()
}

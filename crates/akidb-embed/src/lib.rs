//! The command line: reads arguments, runs one command, reports what failed.
//!
//! A library, so that the Python wheel has the same program.
#![forbid(unsafe_code)]

mod args;
mod cli;
mod commands;
mod error;
mod figures;
mod hints;
mod message;
mod print;
mod text;
mod waiting;

use std::ffi::OsString;

/// Runs the program with its arguments, its own name first, and gives its exit status: 0 done, 1 the
/// work failed (or some rows did), 2 wrong usage.
///
/// Results go to standard output, all else to standard error. Some commands take SIGINT, SIGTERM and
/// SIGHUP over, and end the process then.
///
/// ```
/// assert_eq!(akidb_embed::main(["akidb-embed", "--version"].map(Into::into)), 0);
/// ```
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    cli::main(arguments)
}

//! Lines for the user, beside the results.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether errors alone are told.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, errors alone are told.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Writes a line to standard error, unless errors alone are wanted.
pub(crate) fn message(line: Arguments<'_>) {
    if !QUIET.load(Ordering::Relaxed) {
        failure(line);
    }
}

/// Writes a line of an error to standard error. Where that fails there is nobody to tell.
pub(crate) fn failure(line: Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}

/// Whether somebody watches how far the work has come.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal() && !QUIET.load(Ordering::Relaxed)
}

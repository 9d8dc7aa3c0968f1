//! Lines for the user, beside the results.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard error. Where that fails there is nobody to tell.
pub(crate) fn message(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

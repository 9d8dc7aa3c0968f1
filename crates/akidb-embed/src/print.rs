//! A whole result on standard output.

use std::io::Write;

use serde::Serialize;

use crate::error::CliError;

/// Prints a result.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(CliError::stdout)
}

/// Prints a result as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(value).map_err(|e| CliError::stdout(e.into()))?;
    print(&format!("{json}\n"))
}

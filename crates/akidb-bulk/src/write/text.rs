//! Numbers as text.

use std::io::{self, Write};

use akidb_embedding::Values;

/// Each value as text.
pub(super) fn numbers(values: &Values) -> Vec<String> {
    match values {
        Values::F32(values) => values.iter().map(ToString::to_string).collect(),
        Values::F16(values) => values.iter().map(ToString::to_string).collect(),
        Values::I8 { codes, .. } => codes.iter().map(ToString::to_string).collect(),
        Values::Binary(bytes) => bytes.iter().map(ToString::to_string).collect(),
    }
}

/// The values alone.
pub(super) fn line(out: &mut dyn Write, values: &Values) -> io::Result<()> {
    writeln!(out, "{}", numbers(values).join(" "))
}

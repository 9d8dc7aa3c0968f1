//! The report as text.

use std::fmt::Write;

use super::Report;
use crate::text::{columns, fit};

pub(super) fn text(report: &Report) -> String {
    let p = &report.provenance;
    let mut out = format!(
        "{}, {}, {} in {}\n",
        p.model, p.variant, p.backend, p.precision
    );
    let room = columns().saturating_sub(16).max(20);
    for check in &report.checks {
        let verdict = if check.right { "right" } else { "WRONG" };
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{verdict}: {} ({} {})",
            check.name, check.bound, check.limit
        );
        for value in &check.values {
            let _ = writeln!(out, "  {:9.6}  {}", value.value, fit(&value.text, room));
        }
    }
    for skipped in &report.skipped {
        let _ = writeln!(out, "skipped: {skipped}");
    }
    let what = report.what();
    let verdict = if report.right { "right" } else { "WRONG" };
    let _ = writeln!(out, "The {what} are {verdict}.");
    out
}

//! The last line: how many, how fast, where.

use std::path::Path;

use akidb_bulk::Summary;

use crate::error::CliError;
use crate::figures::{counted, grouped, time};
use crate::message::message;

/// More rows are summed up wherever they went.
const FEW: u64 = 128;

/// `20 000 texts, 980 112 tokens, 17.7 s, 1 130 texts/s → docs.npy; 3 rows failed`; nothing after few
/// rows that went well to standard output.
pub(super) fn line(summary: &Summary, seconds: f64, to: Option<&Path>) -> Option<String> {
    let to = to.filter(|path| *path != Path::new("-"));
    if to.is_none() && summary.failed == 0 && summary.embedded <= FEW {
        return None;
    }
    let rate = (summary.embedded as f64 / seconds.max(1e-3)).round() as u64;
    let mut line = format!(
        "{}, {}, {}, {} texts/s",
        counted(summary.embedded, "text"),
        counted(summary.tokens, "token"),
        time(seconds),
        grouped(rate),
    );
    if let Some(path) = to {
        line.push_str(&format!(" → {}", path.display()));
    }
    if summary.failed > 0 {
        line.push_str(&format!("; {} failed", counted(summary.failed, "row")));
    }
    if summary.blank > 0 {
        line.push_str(&format!(
            "; {} left out",
            counted(summary.blank, "blank line")
        ));
    }
    Some(line)
}

/// Says the last line; rows that failed are the end's error, which has it.
pub(super) fn end(
    summary: &Summary,
    line: Option<String>,
    hint: Option<String>,
) -> Result<(), CliError> {
    match (summary.failed, line) {
        (0, Some(line)) => message(format_args!("{line}")),
        (0, None) => {}
        (failed, line) => {
            return Err(CliError::SomeTexts {
                failed,
                of: failed + summary.embedded,
                hint,
                line,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_many_how_fast_where() {
        let summary = Summary {
            embedded: 20_000,
            failed: 3,
            tokens: 980_112,
            ..Summary::default()
        };
        assert_eq!(
            line(&summary, 17.7, Some(Path::new("docs.npy"))).unwrap(),
            "20 000 texts, 980 112 tokens, 17.7 s, 1 130 texts/s → docs.npy; 3 rows failed"
        );
        let one = Summary {
            embedded: 1,
            tokens: 1,
            blank: 1,
            ..Summary::default()
        };
        assert_eq!(line(&one, 0.5, None), None);
        assert_eq!(line(&one, 0.5, Some(Path::new("-"))), None);
        assert_eq!(
            line(&one, 4000.0, Some(Path::new("a"))).unwrap(),
            "1 text, 1 token, 1 h 6 min, 0 texts/s → a; 1 blank line left out"
        );
    }
}

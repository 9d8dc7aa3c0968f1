//! What a person wants to see of a vector.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};

use akidb_bulk::{BulkError, Destination, FailedRow, Row, VectorWriter};
use akidb_embedding::{Embedding, Input, Provenance, Values};

use crate::text::{columns, fit};

const POSITIVE: Style = AnsiColor::Yellow.on_default();
const NEGATIVE: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Values shown as numbers.
const SHOWN: usize = 6;
/// Heights of a bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes pictures of vectors, with colours on a terminal.
pub(super) struct Pretty {
    destination: Destination,
    provenance: Provenance,
    rows: usize,
}

impl Pretty {
    pub(super) fn new(path: Option<&Path>, provenance: Provenance) -> Result<Self, BulkError> {
        let destination = match path {
            Some(path) => Destination::open(path)?,
            None => Destination::stream(anstream::stdout(), "standard output"),
        };
        Ok(Self {
            destination,
            provenance,
            rows: 0,
        })
    }

    pub(super) fn finish(mut self) -> Result<(), BulkError> {
        let footer = footer(&self.provenance);
        self.print(&footer)?;
        self.destination.finish()
    }

    fn print(&mut self, text: &str) -> Result<(), BulkError> {
        let written = match self.destination.is_file() {
            true => write!(self.destination, "{}", strip_str(text)),
            false => self.destination.write_all(text.as_bytes()),
        };
        written.map_err(|source| self.unwritten(source))
    }

    fn unwritten(&self, source: io::Error) -> BulkError {
        BulkError::Write {
            to: self.destination.name().to_owned(),
            source,
        }
    }
}

impl VectorWriter for Pretty {
    fn write(&mut self, row: &Row, embedding: &Embedding) -> Result<(), BulkError> {
        let title = match &row.input {
            Ok(Input::Text(text)) => text,
            Ok(Input::Tokens(ids)) => &Cow::Owned(format!("{} token ids", ids.len())),
            Err(_) => &Cow::Borrowed(""),
        };
        let gap = if self.rows > 0 { "\n" } else { "" };
        self.rows += 1;
        self.print(&format!("{gap}{}", picture(title, embedding)))
    }

    fn write_failed(&mut self, _: &FailedRow<'_>) -> Result<(), BulkError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BulkError> {
        let flushed = self.destination.flush();
        flushed.map_err(|source| self.unwritten(source))
    }
}

/// Dimension, tokens, norm, the first values and a picture of all of them.
fn picture(title: &str, embedding: &Embedding) -> String {
    let width = columns();
    let title = fit(title, width.saturating_sub(2));
    let numbers = as_numbers(&embedding.values);
    let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
    let truncated = if embedding.truncated {
        " (truncated)"
    } else {
        ""
    };
    let first: Vec<String> = numbers
        .iter()
        .take(SHOWN)
        .map(|x| match embedding.values {
            Values::F32(_) | Values::F16(_) => format!("{x:+.4}"),
            Values::I8 { .. } | Values::Binary(_) => format!("{x:+}"),
        })
        .collect();
    let more = if numbers.len() > SHOWN { ", …" } else { "" };
    format!(
        "{BOLD}{title}{BOLD:#}\n  {} values · {} tokens{truncated} · length {norm:.4}\n  \
         [{}{more}]\n  {}\n",
        numbers.len(),
        embedding.tokens,
        first.join(", "),
        bars(&numbers, width.saturating_sub(4).clamp(8, 128))
    )
}

/// One line on where the vectors come from.
fn footer(provenance: &Provenance) -> String {
    format!(
        "\n{DIM}{} · {} weights · {} backend, {}, {} · {POSITIVE}positive{POSITIVE:#}{DIM} and \
         {NEGATIVE}negative{NEGATIVE:#}{DIM} values{DIM:#}\n",
        provenance.model,
        provenance.variant,
        provenance.backend,
        provenance.precision,
        provenance.device,
    )
}

fn as_numbers(values: &Values) -> Vec<f64> {
    match values {
        Values::F32(values) => values.iter().map(|&x| f64::from(x)).collect(),
        Values::F16(values) => values.iter().map(|x| x.to_f64()).collect(),
        Values::I8 { codes, .. } => codes.iter().map(|&x| f64::from(x)).collect(),
        Values::Binary(bytes) => bytes
            .iter()
            .flat_map(|byte| {
                (0..8)
                    .rev()
                    .map(move |bit| f64::from(byte >> bit & 1) * 2.0 - 1.0)
            })
            .collect(),
    }
}

/// At most `columns` bars: the value of largest magnitude in each stretch, coloured by its sign.
fn bars(numbers: &[f64], columns: usize) -> String {
    let largest = numbers.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let stretch = numbers.len().div_ceil(columns).max(1);
    let mut line = String::new();
    for values in numbers.chunks(stretch) {
        let value = values
            .iter()
            .copied()
            .fold(0.0, |m: f64, x| if x.abs() > m.abs() { x } else { m });
        let level = if largest > 0.0 {
            (value.abs() / largest * 7.0).round() as usize
        } else {
            0
        };
        let style = if value < 0.0 { NEGATIVE } else { POSITIVE };
        line.push_str(&format!("{style}{}{style:#}", BARS[level.min(7)]));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_the_largest_of_each_stretch() {
        let plain = anstream::adapter::strip_str(&bars(&[0.1, -1.0, 0.0, 0.0, 0.5], 3)).to_string();
        assert_eq!(plain, "█▁▅");
        assert_eq!(
            anstream::adapter::strip_str(&bars(&[0.0; 4], 8)).to_string(),
            "▁▁▁▁"
        );
    }

    #[test]
    fn bits_are_drawn_as_signs() {
        assert_eq!(
            as_numbers(&Values::Binary(vec![0b1000_0001]))[..2],
            [1.0, -1.0]
        );
    }
}

//! `similarity`: how close texts are to each other.

use std::io::{self, Write};

use anstyle::{Ansi256Color, Style};
use clap::{Args, ValueEnum};
use serde::Serialize;

use akidb_embedding::{Encoding, Input, Provenance, similarity};

use crate::args::{ModelArgs, VectorArgs, limit, report_truncated};
use crate::error::CliError;
use crate::input::InputArgs;
use crate::text::{columns, fit, pad, width};

/// A matrix of more texts helps nobody.
const MAX_TEXTS: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct SimilarityArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    vectors: VectorArgs,

    /// How to print the matrix
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT", help_heading = "Output")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Shaded on a terminal
    Table,
    /// One object with texts, matrix and provenance
    Json,
    /// The matrix alone
    Csv,
}

pub(crate) fn run(args: &SimilarityArgs) -> Result<(), CliError> {
    let texts = args.input.open()?.take(MAX_TEXTS + 1)?;
    if texts.len() < 2 {
        return Err(CliError::Usage(
            "two texts or more can be compared".to_owned(),
        ));
    }
    if texts.len() > MAX_TEXTS {
        return Err(CliError::Usage(format!(
            "at most {MAX_TEXTS} texts can be compared"
        )));
    }
    let embedder = args.model.load()?;
    let options = args.vectors.options(&embedder, Encoding::F32)?;
    let answer = embedder.embed(&texts, &options)?;
    let vectors: Vec<&[f32]> = answer
        .embeddings
        .iter()
        .filter_map(|e| e.values.as_f32())
        .collect();
    let matrix: Vec<Vec<f64>> = vectors
        .iter()
        .map(|a| vectors.iter().map(|b| similarity(a, b)).collect())
        .collect();
    let labels: Vec<String> = texts.iter().map(label).collect();

    let mut out = std::io::stdout();
    match args.format {
        Format::Table => table(&mut anstream::stdout(), &labels, &matrix),
        Format::Json => json(&mut out, &labels, &matrix, &answer.provenance),
        Format::Csv => csv(&mut out, &matrix),
    }
    .and_then(|()| out.flush())
    .map_err(CliError::stdout)?;
    let truncated = answer.embeddings.iter().filter(|e| e.truncated).count();
    report_truncated(truncated, limit(&embedder, &options));
    Ok(())
}

fn label(input: &Input<'_>) -> String {
    match input {
        Input::Text(text) => text.to_string(),
        Input::Tokens(ids) => format!("{} token ids", ids.len()),
    }
}

/// Columns of one cell.
const CELL: usize = 7;

fn table(out: &mut dyn Write, labels: &[String], matrix: &[Vec<f64>]) -> io::Result<()> {
    let number = labels.len().to_string().len();
    let room = columns()
        .saturating_sub(labels.len() * CELL + number + 4)
        .clamp(12, 48)
        .min(labels.iter().map(|l| width(l)).max().unwrap_or(0));
    write!(out, "{}", " ".repeat(number + room + 3))?;
    for column in 1..=labels.len() {
        write!(out, "{column:^CELL$}")?;
    }
    writeln!(out)?;
    for (i, (label, row)) in labels.iter().zip(matrix).enumerate() {
        write!(
            out,
            "{:>number$} {} ",
            i + 1,
            pad(&fit(label, room), room + 1)
        )?;
        for &value in row {
            let style = shade(value);
            write!(out, "{style}{:^CELL$}{style:#}", format!("{value:.3}"))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// From black for 0 and below to bright for 1, in the 24 greys of the 256-colour palette.
fn shade(value: f64) -> Style {
    let level = (value.clamp(0.0, 1.0) * 23.0).round() as u8;
    let ink = if level > 11 { 16 } else { 255 };
    Style::new()
        .bg_color(Some(Ansi256Color(232 + level).into()))
        .fg_color(Some(Ansi256Color(ink).into()))
}

#[derive(Serialize)]
struct Matrix<'a> {
    object: &'static str,
    texts: &'a [String],
    similarity: &'a [Vec<f64>],
    #[serde(flatten)]
    provenance: &'a Provenance,
}

fn json(
    out: &mut dyn Write,
    texts: &[String],
    similarity: &[Vec<f64>],
    provenance: &Provenance,
) -> io::Result<()> {
    let matrix = Matrix {
        object: "similarity",
        texts,
        similarity,
        provenance,
    };
    writeln!(out, "{}", serde_json::to_string(&matrix)?)
}

fn csv(out: &mut dyn Write, matrix: &[Vec<f64>]) -> io::Result<()> {
    for row in matrix {
        let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

//! `similarity`: how close texts are to each other.

use std::io::{self, Write};

use anstyle::{Ansi256Color, Style};
use clap::{Args, ValueEnum};
use serde::Serialize;

use akidb_embedding::{Encoding, Input, Provenance, similarity};

use crate::args::{InputArgs, ModelFlag, RunArgs, VectorArgs, report_truncated};
use crate::error::CliError;
use crate::text::{columns, fit, pad, width};

/// A matrix of more texts helps nobody.
const MAX_TEXTS: usize = 1000;

/// How many of the texts that were truncated are named.
const FIRST_TRUNCATED: usize = 10;

/// Pairs that are shown of very many.
const MOST_PAIRS: usize = 20;

/// Columns that a text has at least.
const LEAST_LABEL: usize = 12;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed similarity \"red shoes\" \"crimson sneakers\" \"a chocolate cake\"
  akidb-embed similarity --format csv < lines.txt",
    mut_arg("no_normalize", |arg| arg.hide(true))
)]
pub(crate) struct SimilarityArgs {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    model: ModelFlag,

    /// How to print it [default: table where it fits the terminal, else pairs]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    format: Option<Format>,

    #[command(flatten)]
    vectors: VectorArgs,

    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Each with each, shaded on a terminal
    Table,
    /// The nearest pairs, best first
    Pairs,
    /// One object with texts, matrix and provenance
    Json,
    /// The matrix alone
    Csv,
}

pub(crate) fn run(args: &SimilarityArgs) -> Result<(), CliError> {
    if args.vectors.no_normalize {
        return Err(CliError::Usage(
            "--no-normalize changes no similarity: it is the cosine of the vectors, whatever their length"
                .to_owned(),
        ));
    }
    let texts = args.input.open()?.take_texts(MAX_TEXTS + 1)?;
    if texts.len() < 2 {
        return Err(CliError::Usage(format!(
            "two texts or more can be compared: give them as arguments, or one a line on standard input \
             ({} came)",
            texts.len()
        )));
    }
    if texts.len() > MAX_TEXTS {
        return Err(CliError::Usage(format!(
            "at most {MAX_TEXTS} texts can be compared"
        )));
    }
    let embedder = args.model.with(&args.run).load()?;
    let options = args.vectors.options(&embedder, Encoding::F32)?;
    let answer = embedder.embed(&texts, &options)?;
    let vectors: Vec<&[f32]> = answer
        .embeddings
        .iter()
        .filter_map(|e| e.values.as_f32())
        .collect();
    let matrix: Vec<Vec<f32>> = vectors
        .iter()
        .map(|a| vectors.iter().map(|b| similarity(a, b)).collect())
        .collect();
    let labels: Vec<String> = texts.iter().map(label).collect();

    let mut out = std::io::stdout();
    let format = args.format.unwrap_or_else(|| match fits(labels.len()) {
        true => Format::Table,
        false => Format::Pairs,
    });
    match format {
        Format::Table => table(&mut anstream::stdout(), &labels, &matrix),
        Format::Pairs => pairs(&mut anstream::stdout(), &labels, &matrix),
        Format::Json => json(&mut out, &labels, &matrix, &answer.provenance),
        Format::Csv => csv(&mut out, &matrix),
    }
    .and_then(|()| out.flush())
    .map_err(CliError::stdout)?;
    let truncated = answer.embeddings.iter().zip(1..);
    let truncated = truncated.filter(|(embedding, _)| embedding.truncated);
    let truncated: Vec<u64> = truncated.map(|(_, number)| number).collect();
    let first = &truncated[..truncated.len().min(FIRST_TRUNCATED)];
    report_truncated((truncated.len() as u64, first), false, &embedder, &options);
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

/// Columns of the numbers of `texts`.
fn number_width(texts: usize) -> usize {
    texts.to_string().len()
}

/// Whether the lines of a table of so many texts fit.
fn fits(texts: usize) -> bool {
    number_width(texts) + 3 + LEAST_LABEL + texts * CELL <= columns()
}

/// The nearest pairs, best first.
fn pairs(out: &mut dyn Write, labels: &[String], matrix: &[Vec<f32>]) -> io::Result<()> {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (i, row) in matrix.iter().enumerate() {
        pairs.extend(
            row.iter()
                .enumerate()
                .take(i)
                .map(|(j, &value)| (value, j, i)),
        );
    }
    // Of equal ones, the earlier texts are first.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let room = columns().saturating_sub(CELL + 5) / 2;
    let longest = labels.iter().map(|label| width(label)).max().unwrap_or(0);
    let room = room.min(longest);
    for &(value, i, j) in pairs.iter().take(MOST_PAIRS) {
        let style = shade(value);
        let (a, b) = (pad(&fit(&labels[i], room), room), fit(&labels[j], room));
        writeln!(
            out,
            "{style}{:^CELL$}{style:#}  {a}  {b}",
            format!("{value:.3}")
        )?;
    }
    match pairs.len().saturating_sub(MOST_PAIRS) {
        0 => Ok(()),
        more => writeln!(
            out,
            "and {more} pairs that are less near: --format json or csv has all of them"
        ),
    }
}

fn table(out: &mut dyn Write, labels: &[String], matrix: &[Vec<f32>]) -> io::Result<()> {
    let number = number_width(labels.len());
    let room = columns()
        .saturating_sub(labels.len() * CELL + number + 4)
        .clamp(LEAST_LABEL, 48)
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
fn shade(value: f32) -> Style {
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
    similarity: &'a [Vec<f32>],
    #[serde(flatten)]
    provenance: &'a Provenance,
}

fn json(
    out: &mut dyn Write,
    texts: &[String],
    similarity: &[Vec<f32>],
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

fn csv(out: &mut dyn Write, matrix: &[Vec<f32>]) -> io::Result<()> {
    for row in matrix {
        let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

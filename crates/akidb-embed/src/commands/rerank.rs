//! `rerank`: documents for a query, the best first.

use std::io::{self, IsTerminal, Write, stdout};

use anstyle::Style;
use clap::{Args, ValueEnum};
use serde::Serialize;

use akidb_embedding::{Input, OnLong, Provenance, RerankOptions, RerankerBuilder, Score, Scoring};

use crate::args::{InputArgs, ModelFlag, RunArgs, choices};
use crate::error::CliError;
use crate::message::message;
use crate::text::{columns, fit};

/// All documents are held until the last is scored.
const MAX_DOCUMENTS: usize = 100_000;

/// Columns of a bar.
const BAR: usize = 10;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed rerank \"how do I resume a download\" \"bake a cake\" \"continue a transfer\"
  akidb-embed rerank \"red shoes\" --jsonl docs.jsonl --field body --top 10")]
pub(crate) struct RerankArgs {
    /// What the documents should answer
    query: String,

    #[command(flatten)]
    input: InputArgs,

    /// Only the best N
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    #[command(flatten)]
    model: ModelFlag,

    /// How to print it [default: bars on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    format: Option<Format>,

    /// How documents are scored [default: by the model where it is a reranker, else by cosine]
    #[arg(long, value_parser = choices::<Scoring>(), value_name = "HOW", help_heading = "Scores")]
    scoring: Option<Scoring>,

    /// The task in your own words, for models that take one
    #[arg(long, value_name = "TASK", help_heading = "Scores")]
    instruction: Option<String>,

    /// Longest pair of query and document in tokens [default: the model's limit]
    #[arg(long, value_name = "N", help_heading = "Scores")]
    max_tokens: Option<usize>,

    /// What to do with longer documents; a query is never cut
    #[arg(
        long,
        value_parser = choices::<OnLong>(),
        default_value_t = OnLong::Truncate,
        value_name = "WHAT",
        help_heading = "Scores"
    )]
    on_long: OnLong,

    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A line a document, with a bar
    Bars,
    /// One object with all results
    Json,
    /// An object a document
    Jsonl,
    /// A row a document
    Csv,
}

pub(crate) fn run(args: &RerankArgs) -> Result<(), CliError> {
    let documents = documents(&args.input)?;
    let options = RerankOptions {
        scoring: args.scoring,
        instruction: args.instruction.clone(),
        max_tokens: args.max_tokens,
        max_document_tokens: None,
        on_long: args.on_long,
        top_n: args.top,
    };
    let chosen = args.model.with(&args.run);
    let reranker = RerankerBuilder::from(chosen.builder()?).build()?;
    chosen.tell()?;
    let provenance = reranker.provenance(&options)?;
    let scores = reranker.rerank(&args.query, &documents, &options)?;
    for guess in &provenance.guesses {
        message(format_args!("warning: a guess: {guess}"));
    }

    let results: Vec<Ranked<'_>> = scores
        .iter()
        .filter_map(|score| Some(Ranked::new(score, documents.get(score.index)?)))
        .collect();
    let format = args.format.unwrap_or(match stdout().is_terminal() {
        true => Format::Bars,
        false => Format::Json,
    });
    let mut out = stdout();
    match format {
        Format::Bars => bars(&mut anstream::stdout(), &results),
        Format::Json => json(&mut out, &results, &provenance),
        Format::Jsonl => jsonl(&mut out, &results),
        Format::Csv => csv(&mut out, &results),
    }
    .and_then(|()| out.flush())
    .map_err(CliError::stdout)?;
    report_truncated(&scores);
    Ok(())
}

fn documents(input: &InputArgs) -> Result<Vec<String>, CliError> {
    let inputs = input.open()?.take_texts(MAX_DOCUMENTS + 1)?;
    if inputs.len() > MAX_DOCUMENTS {
        let message = format!("at most {MAX_DOCUMENTS} documents can be ranked");
        return Err(CliError::Usage(message));
    }
    let text = |input: Input<'_>| match input {
        Input::Text(text) => Ok(text.into_owned()),
        Input::Tokens(_) => Err(CliError::Usage(
            "a document is a text, not token ids".to_owned(),
        )),
    };
    inputs.into_iter().map(text).collect()
}

/// A document and its score, as the server's answers have them.
#[derive(Debug, Serialize)]
struct Ranked<'a> {
    index: usize,
    relevance_score: f32,
    logit: f32,
    tokens: usize,
    truncated: bool,
    document: Document<'a>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    text: &'a str,
}

impl<'a> Ranked<'a> {
    fn new(score: &Score, text: &'a str) -> Self {
        Self {
            index: score.index,
            relevance_score: score.score,
            logit: score.logit,
            tokens: score.tokens,
            truncated: score.truncated,
            document: Document { text },
        }
    }
}

#[derive(Serialize)]
struct Ranking<'a> {
    object: &'static str,
    results: &'a [Ranked<'a>],
    #[serde(flatten)]
    provenance: &'a Provenance,
}

fn json(out: &mut dyn Write, results: &[Ranked<'_>], provenance: &Provenance) -> io::Result<()> {
    let ranking = Ranking {
        object: "rerank",
        results,
        provenance,
    };
    writeln!(out, "{}", serde_json::to_string(&ranking)?)
}

fn jsonl(out: &mut dyn Write, results: &[Ranked<'_>]) -> io::Result<()> {
    for result in results {
        writeln!(out, "{}", serde_json::to_string(result)?)?;
    }
    Ok(())
}

fn csv(out: &mut dyn Write, results: &[Ranked<'_>]) -> io::Result<()> {
    writeln!(out, "index,relevance_score,logit,tokens,truncated,text")?;
    for result in results {
        let Ranked {
            index,
            relevance_score,
            logit,
            tokens,
            truncated,
            document,
        } = result;
        let text = document.text.replace('"', "\"\"");
        writeln!(
            out,
            "{index},{relevance_score},{logit},{tokens},{truncated},\"{text}\""
        )?;
    }
    Ok(())
}

/// The best first, each with its number among the documents.
fn bars(out: &mut dyn Write, results: &[Ranked<'_>]) -> io::Result<()> {
    let last = results.iter().map(|result| result.index + 1).max();
    let number = last.unwrap_or_default().to_string().len();
    let faint = Style::new().dimmed();
    for result in results {
        let score = format!("{:.3}", result.relevance_score);
        let room = columns().saturating_sub(BAR + score.len() + number + 6);
        writeln!(
            out,
            "{score:>6} {} {faint}{:>number$}{faint:#}  {}",
            bar(result.relevance_score),
            result.index + 1,
            fit(result.document.text, room)
        )?;
    }
    Ok(())
}

/// A bar from nothing for 0 and below to full for 1 and above, in eighths of a column.
fn bar(score: f32) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (score.clamp(0.0, 1.0) * (8 * BAR) as f32).round() as usize;
    let (whole, part) = (eighths / 8, eighths % 8);
    let mut bar = "█".repeat(whole);
    if whole < BAR {
        bar.push(EIGHTHS[part]);
        bar.push_str(&" ".repeat(BAR - whole - 1));
    }
    bar
}

fn report_truncated(scores: &[Score]) {
    match scores.iter().filter(|score| score.truncated).count() {
        0 => {}
        1 => message(format_args!(
            "warning: a document was too long, and part of it was not seen (truncated)"
        )),
        cut => message(format_args!(
            "warning: {cut} documents were too long, and parts of them were not seen (truncated)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_score() {
        assert_eq!(bar(-0.3), " ".repeat(BAR));
        assert_eq!(bar(1.0), "█".repeat(BAR));
        assert_eq!(bar(17.0), "█".repeat(BAR));
        assert_eq!(bar(0.5), format!("█████{}", " ".repeat(5)));
        assert_eq!(bar(0.52), format!("█████▎{}", " ".repeat(4)));
        assert_eq!(bar(f32::NAN), " ".repeat(BAR));
    }
}

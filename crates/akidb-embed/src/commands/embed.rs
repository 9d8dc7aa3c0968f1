//! `embed`: texts to vectors.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Embedding, Encoding, Input};

use crate::args::{ModelArgs, VectorArgs, limit, report_truncated};
use crate::choices::choices;
use crate::error::{CliError, chain};
use crate::input::InputArgs;
use crate::message::message;
use crate::output::{Format, Output};
use crate::progress::Progress;

/// Texts embedded in one call: enough to fill every thread, few enough to show progress.
const TEXTS_PER_CALL: usize = 128;

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    vectors: VectorArgs,

    /// Element type of the vectors; json, jsonl and csv say by which scale int8 is multiplied, npy and
    /// text don't (cosines don't need it)
    #[arg(
        long,
        value_parser = choices::<Encoding>(),
        default_value_t = Encoding::F32,
        value_name = "TYPE",
        help_heading = "Output"
    )]
    encoding: Encoding,

    /// How to print them [default: pretty on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    format: Option<Format>,

    /// Write to a file, which appears only when complete [default: "-", standard output]
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &EmbedArgs) -> Result<(), CliError> {
    let mut texts = args.input.open()?;
    let embedder = args.model.load()?;
    let options = args.vectors.options(&embedder, args.encoding)?;
    let provenance = embedder.provenance(&options)?;
    let format = args.format.unwrap_or_else(|| {
        if args.output.is_none() && std::io::stdout().is_terminal() {
            Format::Pretty
        } else {
            Format::Json
        }
    });
    let mut output = Output::create(format, args.output.as_deref(), provenance)?;

    let mut progress = None;
    let (mut done, mut tokens, mut truncated, mut failed) = (0, 0, 0, 0);
    loop {
        let batch = texts.take(TEXTS_PER_CALL)?;
        if batch.is_empty() {
            break;
        }
        // Short work needs no bar.
        if batch.len() == TEXTS_PER_CALL && progress.is_none() {
            progress = Some(Progress::new(texts.bytes));
        }
        let answers = answers(&embedder, &batch, &options, format)
            .map_err(|error| error.counted_from(done))?;
        output.write(&batch, &answers)?;
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(embedding) => {
                    tokens += embedding.tokens;
                    truncated += usize::from(embedding.truncated);
                }
                Err(error) => {
                    report(done + index, &error.counted_from(done));
                    failed += 1;
                }
            }
        }
        done += batch.len();
        if let Some(progress) = &progress {
            progress.update(texts.position(), done, tokens);
        }
    }
    if let Some(progress) = progress {
        progress.finish();
    }
    output.finish()?;
    report_truncated(truncated, limit(&embedder, &options));
    match failed {
        0 => Ok(()),
        _ => Err(CliError::SomeTexts { failed, of: done }),
    }
}

/// JSON Lines name each text's place, so that those that failed can be left out; in the other formats
/// one failure is the failure of all.
fn answers(
    embedder: &Embedder,
    texts: &[Input<'_>],
    options: &EmbedOptions,
    format: Format,
) -> Result<Vec<Result<Embedding, EmbedError>>, EmbedError> {
    if format == Format::Jsonl {
        return embedder.embed_each(texts, options);
    }
    let answer = embedder.embed(texts, options)?;
    Ok(answer.embeddings.into_iter().map(Ok).collect())
}

/// The place of a text that failed, as a line for programs.
#[derive(Serialize)]
struct Failed<'a> {
    object: &'static str,
    index: usize,
    message: &'a str,
}

fn report(index: usize, error: &EmbedError) {
    let failed = Failed {
        object: "error",
        index,
        message: &chain(error),
    };
    match serde_json::to_string(&failed) {
        Ok(line) => message(format_args!("{line}")),
        Err(_) => message(format_args!("error: {}", failed.message)),
    }
}

//! `embed`: texts to vectors.

mod errors;
mod interrupt;
mod pretty;
mod progress;
mod summary;
mod target;

use std::path::{Path, PathBuf};
use std::time::Instant;

use akidb_bulk::{Bulk, BulkError, FailedRow, Listener, OnError, Summary, VectorWriter};
use akidb_embedding::Encoding;
use clap::Args;
use same_file::is_same_file;

use crate::args::{InputArgs, ModelFlag, RunArgs, VectorArgs, choices, report_truncated};
use crate::error::CliError;
use crate::message::message;
use errors::Errors;
use interrupt::Interruptible;
use pretty::Pretty;
use progress::Progress;
use target::{Format, Target, formats};

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed embed \"how do I resume a download\" --as query
  akidb-embed embed --jsonl docs.jsonl --field body --id-field url -o vectors.jsonl
  akidb-embed embed -m qwen3-embedding-0.6b -o vectors.npy < lines.txt")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Field of the JSON objects that names the row; answers have it as `id`
    #[arg(
        long,
        value_name = "NAME",
        requires = "jsonl",
        conflicts_with = "texts"
    )]
    id_field: Option<String>,

    /// Fields of the JSON objects that go along into the answers (jsonl, json, csv)
    #[arg(
        long,
        value_name = "FIELD",
        requires = "jsonl",
        conflicts_with = "texts",
        num_args = 1..,
        value_delimiter = ','
    )]
    keep: Vec<String>,

    #[command(flatten)]
    model: ModelFlag,

    /// Write to a file, which appears when it is complete, in the place of one that is there; its ending
    /// says the format: .npy, .jsonl, .json, .csv, .txt [default: "-", standard output]
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// How to print them [default: as the file's ending says, else pretty on a terminal, else json]
    #[arg(long, value_parser = formats(), value_name = "FORMAT", help_heading = "Output")]
    format: Option<Format>,

    /// Element type of the vectors. Of int8, json, jsonl and csv have the scale that its values are
    /// multiplied by; npy and text don't (cosines don't need it)
    #[arg(
        long,
        value_parser = choices::<Encoding>(),
        default_value_t = Encoding::F32,
        value_name = "TYPE",
        help_heading = "Output"
    )]
    encoding: Encoding,

    /// What to do with a row that can't be embedded [default: object in json and jsonl, else skip]
    #[arg(long, value_parser = choices::<OnError>(), value_name = "WHAT", help_heading = "Output")]
    on_error: Option<OnError>,

    /// Write what is wrong with rows to this file, one JSON object each, and leave them out of the
    /// answers
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    errors: Option<PathBuf>,

    #[command(flatten)]
    vectors: VectorArgs,

    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run(args: &EmbedArgs) -> Result<(), CliError> {
    let target = Target::new(args.format, args.output.as_deref())?;
    check_files_differ(args)?;
    let on_error = on_error(args, target.format)?;
    let id = args.id_field.as_deref();
    let mut rows = args.input.open_with(id, &args.keep)?;
    let columns = rows.columns().clone();
    let embedder = args.model.with(&args.run).load()?;
    let options = args.vectors.options(&embedder, args.encoding)?;
    let provenance = embedder.provenance(&options)?;
    let bulk = Bulk::new(&embedder, &options).on_error(on_error);
    let mut told = Told {
        errors: Errors::new(args.errors.as_deref(), columns.clone())?,
        progress: Progress::new(rows.bytes()),
    };

    let started = Instant::now();
    let mut run = |writer: &mut dyn VectorWriter| bulk.run(&mut rows, writer, &mut told);
    let summary = match target.open(provenance.clone(), columns.clone())? {
        Some(writer) => {
            let mut writer = Interruptible::new(writer);
            let summary = run(&mut writer)?;
            writer.finish()?;
            summary
        }
        None => {
            let mut writer = Pretty::new(target.path, provenance)?;
            let summary = run(&mut writer)?;
            writer.finish()?;
            summary
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let Told { errors, progress } = told;
    progress.finish();
    for field in rows.never_seen().filter(|_| summary.embedded > 0) {
        message(format_args!(
            "warning: no row has the field {field:?} of --keep"
        ));
    }
    let in_place = "the error objects in the answers say why".to_owned();
    let hint = errors.finish();
    let hint = hint.or_else(|| (on_error == OnError::Object).then_some(in_place));
    let truncated = (summary.truncated, summary.truncated_lines.as_slice());
    report_truncated(truncated, columns.line, &embedder, &options);
    let path = args.output.as_deref();
    let last = summary::line(&summary, seconds, path);
    summary::end(&summary, last, hint)
}

/// Refuses what would lose the input, or the answers, to another file of the same name.
fn check_files_differ(args: &EmbedArgs) -> Result<(), CliError> {
    let (output, errors) = (args.output.as_deref(), args.errors.as_deref());
    let same = |what: &str| CliError::Usage(format!("{what} are one file: name another"));
    if output.is_some_and(|output| args.input.reads(output)) {
        return Err(same("the input and the output"));
    }
    let Some(errors) = errors else { return Ok(()) };
    if args.input.reads(errors) {
        return Err(same("the input and the file of --errors"));
    }
    let files = |output: &Path| output.is_file() && errors.is_file();
    let by_name = |output: &Path| {
        output == errors || (files(output) && is_same_file(output, errors).unwrap_or(false))
    };
    match output.is_some_and(by_name) {
        true => Err(same("the output and the file of --errors")),
        false => Ok(()),
    }
}

/// What is done with bad rows: by the format, unless the user says it.
fn on_error(args: &EmbedArgs, format: Format) -> Result<OnError, CliError> {
    let objects = format.has_error_objects();
    match args.on_error {
        Some(OnError::Object) if !objects || args.errors.is_some() => {
            let why = match objects {
                true => "--errors FILE takes the error objects out of the answers".to_owned(),
                false => format!("{format} has no place for error objects: skip or fail"),
            };
            Err(CliError::Usage(format!("--on-error object: {why}")))
        }
        Some(on_error) => Ok(on_error),
        None if objects && args.errors.is_none() => Ok(OnError::Object),
        None => Ok(OnError::Skip),
    }
}

/// What the user hears while rows are embedded.
struct Told {
    errors: Errors,
    progress: Progress,
}

impl Listener for Told {
    fn failed(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError> {
        let Self { errors, progress } = self;
        progress.suspend(|| errors.tell(row))
    }

    fn advanced(&mut self, done: &Summary, position: u64) {
        self.progress.update(done, position);
    }
}

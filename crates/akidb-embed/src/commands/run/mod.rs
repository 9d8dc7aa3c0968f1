//! `run`: a corpus of files to vectors, exactly once.

mod progress;
mod shard;
mod status;
mod stop;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use akidb_bulk::corpus::{
    Chunks, CorpusError, CorpusSettings, DEFAULT_UNIT_ROWS, End, Folder, Keep, Manifest, Plan,
    Runner, Template, TextFrom, UnitFormat, read_plan,
};
use akidb_embedding::{EmbedOptions, Embedder, Encoding};
use clap::Args;

use crate::args::{ModelFlag, RunArgs, VectorArgs, choices};
use crate::error::CliError;
use crate::figures::counted;
use crate::message::{be_quiet, message};
use crate::waiting::Waiting;
use progress::Progress;
use shard::ShardArgument;

/// Part of the rows that may fail, where the user doesn't say it.
const MAX_ERROR_RATE: f64 = 0.01;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed run docs/ --out vectors
  akidb-embed run \"data/*.parquet\" --text body --id url --keep title,lang --out vectors
  akidb-embed run s3://bucket/data/ --out s3://bucket/vectors
  akidb-embed run --status vectors --watch")]
pub(crate) struct CorpusArgs {
    /// Files, folders or globs of Parquet, JSON Lines, CSV and plain text (one text a line), each but
    /// Parquet also with .gz or .zst after its name; also at s3://, gs:// and az://, and files at https://
    #[arg(value_name = "INPUT", required_unless_present_any = ["status"])]
    inputs: Vec<String>,

    /// Folder for the vectors: new, or of the same work, which then goes on; also at s3://, gs:// and
    /// az://
    #[arg(long, short, value_name = "DIR", required_unless_present_any = ["status"])]
    out: Option<PathBuf>,

    /// Column or field that holds the text [default: text]
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    text: Vec<String>,

    /// Put texts together from several fields: "{title}\n{body}"
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,

    /// Column or field that names the row
    #[arg(long, value_name = "FIELD")]
    id: Option<String>,

    /// Columns or fields that go along, parted by commas, or all
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    keep: Vec<String>,

    /// Split texts into chunks of at most N tokens, at the ends of paragraphs, sentences or words;
    /// which part it is goes along as chunk, start and end (in characters)
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,

    /// Tokens that a chunk shares with the one before
    #[arg(long, value_name = "N", default_value_t = 0, requires = "chunk")]
    overlap: usize,

    #[command(flatten)]
    model: ModelFlag,

    /// Element type of the vectors; int8 has its scale in a column of that name
    #[arg(
        long,
        value_parser = choices::<Encoding>(),
        default_value_t = Encoding::F32,
        value_name = "TYPE",
        help_heading = "Output"
    )]
    encoding: Encoding,

    /// parquet, or npy with the other columns beside it as JSON Lines
    #[arg(
        long,
        default_value = "parquet",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    format: UnitFormat,

    /// Most rows of a file that is written, and of what a kill costs
    #[arg(long, value_name = "N", default_value_t = DEFAULT_UNIT_ROWS, help_heading = "Output")]
    unit_rows: u64,

    /// The part of the rows that may fail, as in 1% or 0.01 [default: 1%]
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Output")]
    max_error_rate: Option<f64>,

    /// Where DIR holds other work, move it aside and start afresh
    #[arg(long, help_heading = "Output")]
    force: bool,

    /// Do the I-th of N parts (from 1) beside others that do the rest; auto: as Slurm's array says;
    /// auto/N: as the job of Kubernetes says
    #[arg(long, value_name = "I/N", help_heading = "Many machines")]
    shard: Option<ShardArgument>,

    /// Compute nothing: look whether all shards are done, and write the manifest
    #[arg(long, conflicts_with = "shard", help_heading = "Many machines")]
    finish: bool,

    /// Show how far the work in DIR is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["inputs", "out"], help_heading = "Many machines")]
    status: Option<PathBuf>,

    /// Show it again and again until the work is done
    #[arg(long, requires = "status", help_heading = "Many machines")]
    watch: bool,

    /// Tell of units and progress on standard error, one JSON object a line
    #[arg(long, help_heading = "Many machines")]
    log_json: bool,

    #[command(flatten)]
    vectors: VectorArgs,

    #[command(flatten)]
    run: RunArgs,
}

/// A part, as `1%` or `0.01`.
fn rate(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if (0.0..=scale).contains(&number) => Ok(number / scale),
        _ => Err("it must be a part, as 1% or 0.01".to_owned()),
    }
}

pub(crate) fn run(args: &CorpusArgs) -> Result<(), CliError> {
    if let Some(folder) = &args.status {
        return status::run(folder, args.watch);
    }
    if args.log_json {
        // Lines for people would stand between those for machines.
        be_quiet();
    }
    // One of the two is required.
    let out = args.out.as_deref().unwrap_or(Path::new("."));
    let shard = args.shard.as_ref().map(ShardArgument::get).transpose()?;
    let settings = settings(args)?;
    let embedder = args.model.with(&args.run).load()?;
    let options = args.vectors.options(&embedder, args.encoding)?;
    let plan = plan(args, &settings, &embedder, &options, out)?;
    if args.finish {
        let manifest = Manifest::finish(out, &plan)?;
        return summary::manifest(&manifest, out, args.max_error_rate());
    }
    if shard.is_none()
        && let Some(manifest) = Manifest::of_finished(out, &plan)?
    {
        return summary::manifest(&manifest, out, args.max_error_rate());
    }
    let folder = Folder::begin(out, &plan, shard)?;
    let units = shard.map_or(&*plan.units, |shard| shard.of(&plan.units));
    let runner = Runner::new(&embedder, &options, &plan, &folder)?;
    let runner = runner.max_error_rate(args.max_error_rate());
    message(format_args!("{}", summary::before(&plan, units, &runner)));
    let stop = stop::on_interrupt();
    let started = Instant::now();
    let mut progress = Progress::new(units, args.log_json);
    let end = runner.run(units, stop, &mut progress);
    let done = progress.finish();
    drop(folder);
    if end? == End::Stopped {
        summary::stopped(&done, units, out);
        std::process::exit(stop::INTERRUPTED);
    }
    match shard {
        Some(shard) => {
            summary::shard(shard, &done, started.elapsed(), out);
            Ok(())
        }
        None => {
            let manifest = Manifest::finish(out, &plan)?;
            summary::done(
                &manifest,
                &done,
                started.elapsed(),
                out,
                args.max_error_rate(),
            )
        }
    }
}

impl CorpusArgs {
    fn max_error_rate(&self) -> f64 {
        self.max_error_rate.unwrap_or(MAX_ERROR_RATE)
    }
}

/// What the arguments say.
fn settings(args: &CorpusArgs) -> Result<CorpusSettings, CliError> {
    let text = match (&args.template, args.text.as_slice()) {
        (Some(template), texts) => {
            let template: Template = template.parse()?;
            if let Some(text) = texts.iter().find(|text| !template.names(text)) {
                return Err(CliError::Usage(format!(
                    "--text {text}: the template doesn't name it"
                )));
            }
            TextFrom::Template(template)
        }
        (None, []) => TextFrom::Column("text".to_owned()),
        (None, [text]) => TextFrom::Column(text.clone()),
        (None, texts) => {
            let names = texts.iter().map(|text| format!("{{{text}}}"));
            return Err(CliError::Usage(format!(
                "several texts are put together with --template, as in --template \"{}\"",
                names.collect::<Vec<_>>().join("\\n")
            )));
        }
    };
    Ok(CorpusSettings {
        inputs: args.inputs.clone(),
        text,
        id: args.id.clone(),
        keep: match args.keep.as_slice() {
            [all] if all == "all" => Keep::All,
            columns => Keep::Columns(columns.to_vec()),
        },
        unit_rows: args.unit_rows,
        chunks: args.chunk.map(|tokens| Chunks {
            tokens,
            overlap: args.overlap,
        }),
        format: args.format,
    })
}

/// The plan, and what of the input the user may not have meant.
fn plan(
    args: &CorpusArgs,
    settings: &CorpusSettings,
    embedder: &Embedder,
    options: &EmbedOptions,
    out: &Path,
) -> Result<Plan, CliError> {
    let waiting = Waiting::new("reading the input");
    let earlier = match read_plan(out) {
        Err(CorpusError::Damaged { .. }) if args.force => None,
        earlier => earlier?,
    };
    let plan = Plan::new(settings, embedder, options, out, earlier.as_ref())?;
    drop(waiting);
    let is_other = || match plan.is_begun_in(out) {
        Ok(_) => Ok(false),
        Err(CorpusError::OtherWork { .. } | CorpusError::Damaged { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    if args.force
        && is_other()?
        && let Some(aside) = Folder::move_aside(out)?
    {
        message(format_args!("{} is now {}", out.display(), aside.display()));
    }
    if plan.unknown_files > 0 {
        let files = counted(plan.unknown_files as u64, "file");
        message(format_args!("{files} of kinds that are not read left out"));
    }
    if plan.repeated_files > 0 {
        let files = counted(plan.repeated_files as u64, "file");
        message(format_args!("{files} named more than once taken once"));
    }
    Ok(plan)
}

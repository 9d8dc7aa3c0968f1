//! `bench`: how fast a model runs on this machine, and what the machine gives meanwhile.

mod machine;
mod work;

use std::io::Write;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::args::{ChosenModel, ModelArgument, RunArgs};
use crate::error::CliError;
use crate::text::{columns, wrapped};
use work::{Model, Work, WorkArgs};

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed bench qwen3-embedding-0.6b --variant int8
  akidb-embed bench --batch 8 --tokens 128 --json",
    after_help = MEASURES
)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgument,

    #[command(flatten)]
    work: WorkArgs,

    /// Timed runs
    #[arg(long, value_name = "N", help_heading = "Work", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Runs before the timed ones
    #[arg(long, value_name = "N", help_heading = "Work", default_value_t = 2)]
    warm_up: u32,

    /// Print one JSON object for each piece of work
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    run: RunArgs,

    /// Keep no keys and values of the instruction from one call to the next
    #[arg(long, help_heading = "How the model is run")]
    no_prefix_cache: bool,
}

/// What the last columns are.
const MEASURES: &str = "\
Without --batch, --tokens, --text and --jsonl, the usual work is timed: 1, 8 and 32 short texts, 8 of 128 \
tokens, and one of 512.

read GB/s: how fast this machine read memory just before the work, with all threads; a text alone can't \
be faster than this takes the weights in. A reranker ranks the texts for a query; tokens are those of \
pairs. barrier ns: how long two threads took to meet just before the \
work; each layer has several such meetings, and a busy machine shows as a large number here.";

/// One line of the table.
#[derive(Serialize)]
pub(crate) struct Timing {
    model: String,
    variant: String,
    backend: String,
    precision: String,
    /// CPU tier, or what else the backend runs on.
    tier: String,
    work: String,
    /// Texts in one run.
    batch: usize,
    total_tokens: usize,
    runs: u32,
    median_ms: f64,
    min_ms: f64,
    /// At the median.
    tokens_per_s: f64,
    /// After the work.
    rss_mb: Option<f64>,
    /// Just before the work.
    read_gb_s: f64,
    /// Just before the work.
    barrier_ns: Option<f64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let model = args.model.with(&args.run);
    let embedder = model.load_with(|builder| builder.prefix_cache(!args.no_prefix_cache))?;
    let bench = Model::new(embedder);
    let table = args.work.table(&bench)?;
    let memory = machine::Memory::new();
    let runs = Runs {
        threads: model.threads(),
        warm_up: args.warm_up,
        timed: args.runs,
    };
    let mut out = std::io::stdout().lock();
    let mut print = |line: String| {
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(CliError::stdout)
    };
    for (i, work) in table.iter().enumerate() {
        let timing = time(&bench, runs, work, &memory)?;
        if args.json {
            print(serde_json::to_string(&timing).unwrap_or_default())?;
            continue;
        }
        if i == 0 {
            print(format!(
                "{}, {} weights, {} backend, {}, {}",
                timing.model, timing.variant, timing.backend, timing.precision, timing.tier
            ))?;
            print(format!(
                "{:>12} {:>7} {:>10} {:>10} {:>10} {:>8} {:>10} {:>10}",
                "work",
                "tokens",
                "median ms",
                "min ms",
                "tokens/s",
                "RSS MB",
                "read GB/s",
                "barrier ns"
            ))?;
        }
        let optional = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.0}"));
        print(format!(
            "{:>12} {:>7} {:>10.2} {:>10.2} {:>10.0} {:>8} {:>10.1} {:>10}",
            timing.work,
            timing.total_tokens,
            timing.median_ms,
            timing.min_ms,
            timing.tokens_per_s,
            optional(timing.rss_mb),
            timing.read_gb_s,
            optional(timing.barrier_ns),
        ))?;
    }
    if !args.json && !table.is_empty() {
        print(format!("\n{}", wrapped(MEASURES, columns())))?;
    }
    Ok(())
}

/// Times a model on the whole table, a few runs each.
pub(crate) fn measure(model: ChosenModel<'_>) -> Result<Vec<Timing>, CliError> {
    let bench = Model::new(model.load()?);
    let runs = Runs {
        threads: model.threads(),
        warm_up: 1,
        timed: 5,
    };
    let memory = machine::Memory::new();
    let table = WorkArgs::default().table(&bench)?;
    let timings = table.iter().map(|work| time(&bench, runs, work, &memory));
    timings.collect()
}

/// How often a piece of work is run.
#[derive(Clone, Copy)]
struct Runs {
    threads: usize,
    warm_up: u32,
    timed: u32,
}

fn time(
    model: &Model,
    runs: Runs,
    work: &Work,
    memory: &machine::Memory,
) -> Result<Timing, CliError> {
    let read_gb_s = memory.read_gb_s(runs.threads);
    let barrier_ns = machine::barrier_ns();
    for _ in 0..runs.warm_up {
        work.run(model)?;
    }
    let mut times = Vec::with_capacity(runs.timed as usize);
    let mut total_tokens = 0;
    for _ in 0..runs.timed {
        let start = Instant::now();
        total_tokens = work.run(model)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median_ms = times[times.len() / 2];
    let provenance = model.provenance(work)?;
    Ok(Timing {
        model: provenance.model,
        variant: provenance.variant,
        backend: provenance.backend,
        precision: provenance.precision,
        tier: provenance.device,
        work: work.name.clone(),
        batch: work.inputs.len(),
        total_tokens,
        runs: runs.timed,
        median_ms,
        min_ms: times[0],
        tokens_per_s: total_tokens as f64 / median_ms * 1e3,
        rss_mb: machine::rss_mb(memory),
        read_gb_s,
        barrier_ns,
    })
}

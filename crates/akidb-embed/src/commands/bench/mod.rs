//! `bench`: how fast a model runs on this machine, and what the machine gives meanwhile.

mod machine;

use std::io::Write;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use akidb_embedding::{EmbedOptions, Embedder, Input};

use crate::args::ModelArgs;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Texts in one call
    #[arg(long, value_name = "N", help_heading = "Work", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,

    /// Tokens of each text, special tokens included
    #[arg(long, value_name = "N", help_heading = "Work", conflicts_with = "text", value_parser = clap::value_parser!(u32).range(2..))]
    tokens: Option<u32>,

    /// The text [default: "Hello, world!"]
    #[arg(long, help_heading = "Work")]
    text: Option<String>,

    /// Timed calls, after two that are not
    #[arg(long, value_name = "N", help_heading = "Work", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Print one JSON object for each piece of work
    #[arg(long, help_heading = "Output")]
    json: bool,
}

const TEXT: &str = "Hello, world!";
const WARM_UP: u32 = 2;

/// What is timed when nothing was asked for: texts, and tokens of each (`None`: [`TEXT`]).
const TABLE: [(u32, Option<u32>); 5] = [
    (1, None),
    (8, None),
    (32, None),
    (8, Some(128)),
    (1, Some(512)),
];

/// One line of the table.
#[derive(Serialize)]
struct Timing {
    model: String,
    variant: String,
    backend: String,
    precision: String,
    /// CPU tier, or what else the backend runs on.
    tier: String,
    batch: u32,
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
    let embedder = args.model.load()?;
    if let Some(n) = args.tokens.filter(|n| *n as usize > embedder.max_tokens()) {
        return Err(CliError::Usage(format!(
            "--tokens {n}: the model takes at most {}",
            embedder.max_tokens()
        )));
    }
    let work = if args.batch.is_none() && args.tokens.is_none() && args.text.is_none() {
        TABLE.to_vec()
    } else {
        vec![(args.batch.unwrap_or(1), args.tokens)]
    };
    let mut out = std::io::stdout().lock();
    let mut print = |line: String| {
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|source| CliError::Write {
                to: "standard output".to_owned(),
                source,
            })
    };
    for (i, (batch, tokens)) in work.into_iter().enumerate() {
        if tokens.is_some_and(|n| n as usize > embedder.max_tokens()) {
            continue; // A model for shorter texts has a shorter table.
        }
        let text = args.text.as_deref().unwrap_or(TEXT);
        let timing = time(&embedder, args, batch, tokens, text)?;
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
        let work = match tokens {
            Some(n) => format!("{batch} x {n}"),
            None => format!("{batch} x text"),
        };
        let optional = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.0}"));
        print(format!(
            "{work:>12} {:>7} {:>10.2} {:>10.2} {:>10.0} {:>8} {:>10.1} {:>10}",
            timing.total_tokens,
            timing.median_ms,
            timing.min_ms,
            timing.tokens_per_s,
            optional(timing.rss_mb),
            timing.read_gb_s,
            optional(timing.barrier_ns),
        ))?;
    }
    Ok(())
}

fn time(
    embedder: &Embedder,
    args: &BenchArgs,
    batch: u32,
    tokens: Option<u32>,
    text: &str,
) -> Result<Timing, CliError> {
    let input = match tokens {
        // One place is for the token that ends a text. Small ids are in every vocabulary.
        Some(n) => Input::from(
            (1..n)
                .map(|i| i.wrapping_mul(37) % 200)
                .collect::<Vec<u32>>(),
        ),
        None => Input::from(text.to_owned()),
    };
    let inputs = vec![input; batch as usize];
    let options = EmbedOptions::default();
    let threads = args.model.threads();
    let read_gb_s = machine::read_gb_s(threads);
    let barrier_ns = machine::barrier_ns();
    for _ in 0..WARM_UP {
        embedder.embed(&inputs, &options)?;
    }
    let mut times = Vec::with_capacity(args.runs as usize);
    let mut total_tokens = 0;
    for _ in 0..args.runs {
        let start = Instant::now();
        total_tokens = embedder.embed(&inputs, &options)?.total_tokens;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median_ms = times[times.len() / 2];
    let provenance = embedder.provenance(&options)?;
    Ok(Timing {
        model: provenance.model,
        variant: provenance.variant,
        backend: provenance.backend,
        precision: provenance.precision,
        tier: provenance.device,
        batch,
        total_tokens,
        runs: args.runs,
        median_ms,
        min_ms: times[0],
        tokens_per_s: total_tokens as f64 / median_ms * 1e3,
        rss_mb: machine::rss_mb(),
        read_gb_s,
        barrier_ns,
    })
}

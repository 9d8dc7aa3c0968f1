//! What a server gets out of the same engine when it takes texts first in, first out and pads each
//! batch to its longest text. Padding is tokens of the text itself, over again.

#[path = "texts/mod.rs"]
mod texts;

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::Parser;

use akidb_embedding::{EmbedOptions, Embedder};
use texts::{Chance, Lengths};

/// Runs batches that are padded to their longest text.
#[derive(Debug, Parser)]
struct Args {
    /// As for the server
    #[arg(long, default_value = "akidb-mini")]
    model: String,
    /// As for the server
    #[arg(long)]
    variant: Option<String>,
    /// Texts that wait at any time
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Most tokens of a batch, padding included
    #[arg(long, default_value_t = 16_384)]
    max_batch_tokens: usize,
    /// How long batches are begun
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    #[command(flatten)]
    lengths: Lengths,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut builder = Embedder::builder().model(&args.model);
    if let Some(variant) = &args.variant {
        builder = builder.variant(variant);
    }
    let embedder = builder.build()?;
    let mut chance = Chance::new(0);
    let mut number = 0;
    let mut next = || -> Result<Vec<u32>, Box<dyn Error>> {
        number += 1;
        let text = args.lengths.text(&format!("{number}.0"), &mut chance);
        let tokens = embedder.tokenize(&[text], &EmbedOptions::default())?;
        Ok(tokens.into_iter().next().ok_or("no tokens")??.ids)
    };
    let mut waiting = VecDeque::new();
    for _ in 0..args.clients {
        waiting.push_back(next()?);
    }
    embedder.forward(&[&waiting[0]], "")?;

    let start = Instant::now();
    let (mut texts, mut tokens, mut padded_tokens) = (0, 0, 0);
    while start.elapsed() < Duration::from_secs_f64(args.seconds) {
        let mut longest = 0;
        let mut count = 0;
        for ids in &waiting {
            longest = longest.max(ids.len());
            if count > 0 && longest * (count + 1) > args.max_batch_tokens {
                break;
            }
            count += 1;
        }
        let batch: Vec<Vec<u32>> = waiting.drain(..count).collect();
        let longest = batch.iter().map(Vec::len).max().unwrap_or(0);
        tokens += batch.iter().map(Vec::len).sum::<usize>();
        padded_tokens += longest * count;
        texts += count;
        let padded = batch
            .iter()
            .map(|ids| ids.iter().copied().cycle().take(longest).collect());
        let padded: Vec<Vec<u32>> = padded.collect();
        let padded: Vec<&[u32]> = padded.iter().map(Vec::as_slice).collect();
        embedder.forward(&padded, "")?;
        for _ in 0..count {
            waiting.push_back(next()?);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{} waiting, {seconds:.1} s: {:.1} texts/s, {:.0} tokens/s, {:.1} times as many with padding",
        args.clients,
        texts as f64 / seconds,
        tokens as f64 / seconds,
        padded_tokens as f64 / tokens as f64,
    )?;
    Ok(())
}

//! A model's first passes: they read its weights in and show how fast it is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use akidb_embedding::{EmbedError, EmbedOptions, Embedder};

use super::speed::{Speed, cost};

const SHORT: &str = "warm up";
/// About as many tokens as words.
const LONG_WORDS: usize = 120;
/// Of a few runs the fastest counts. The first reads the weights in.
const SHORT_RUNS: usize = 4;
const LONG_RUNS: usize = 2;

/// Runs a short and a longer text, each pass with `cores` held.
pub(super) fn warm_up(embedder: &Embedder, cores: &Mutex<()>) -> Result<Speed, EmbedError> {
    let short = best(embedder, cores, SHORT, SHORT_RUNS)?;
    let long = best(embedder, cores, &"word ".repeat(LONG_WORDS), LONG_RUNS)?;
    Ok(Speed::of(short, long))
}

/// A text's cost and the fastest of its runs.
fn best(
    embedder: &Embedder,
    cores: &Mutex<()>,
    text: &str,
    runs: usize,
) -> Result<(u64, Duration), EmbedError> {
    let tokens = embedder.tokenize(&[text], &EmbedOptions::default())?;
    let tokens: Vec<_> = tokens.into_iter().collect::<Result<_, _>>()?;
    let texts: Vec<&[u32]> = tokens.iter().map(|tokens| &*tokens.ids).collect();
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let _alone = cores.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        embedder.forward(&texts, "")?;
        best = best.min(start.elapsed());
    }
    Ok((cost(texts.iter().map(|ids| ids.len()).sum()), best))
}

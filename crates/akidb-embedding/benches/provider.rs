//! What AkiDB's provider adds to the model.
//!
//! `cargo bench -p akidb-embedding --bench provider [-- MODEL]`: the built-in model, or another.
//! Medians; what is compared takes turns.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akidb_embedding::{
    BatchEmbeddingRequest, EmbedOptions, Embedder, EmbeddingProvider, OnnxEmbeddingProvider,
};

const CALLS: usize = 200;
const TURNS: usize = 31;
const IDLE_TURNS: usize = 301;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let model = args.next().unwrap_or_else(|| "akidb-mini".to_owned());
    let engine = Embedder::builder().model(&model).build()?;
    let provider = Embedder::builder().model(&model).build()?;
    let provider = Arc::new(OnnxEmbeddingProvider::new(provider)?);
    let id = provider.model_info().await?.model;
    let mut texts = (0..).map(|n| format!("text {n}"));
    let mut request = |texts_of_it: usize| BatchEmbeddingRequest {
        model: id.clone(),
        inputs: texts.by_ref().take(texts_of_it).collect(),
        normalize: true,
    };

    let (mut batch, mut calls, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let together = request(CALLS);
        let start = Instant::now();
        provider.embed_batch(together).await?;
        batch.push(start.elapsed());

        let each: Vec<_> = (0..CALLS).map(|_| request(1)).collect();
        let start = Instant::now();
        let each = each.into_iter().map(|request| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.embed_batch(request).await })
        });
        for call in each.collect::<Vec<_>>() {
            call.await??;
        }
        calls.push(start.elapsed());

        // All but the last go again.
        let each: Vec<_> = (0..CALLS).map(|_| request(1)).collect();
        let start = Instant::now();
        let each = each.into_iter().map(|request| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.embed_batch(request).await })
        });
        let mut each: Vec<_> = each.collect();
        let last = each.pop();
        each.iter().for_each(|call| call.abort());
        if let Some(last) = last {
            last.await??;
        }
        dropped.push(start.elapsed());
    }

    let (mut alone, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..IDLE_TURNS {
        let one = request(1);
        let start = Instant::now();
        engine.embed(&one.inputs, &EmbedOptions::default())?;
        alone.push(start.elapsed());
        let start = Instant::now();
        provider.embed_batch(request(1)).await?;
        idle.push(start.elapsed());
    }

    let [batch, calls, dropped, alone, idle] =
        [batch, calls, dropped, alone, idle].map(|times| ms(median(times)));
    println!("one batch of {CALLS} texts      {batch:8.3} ms");
    println!(
        "{CALLS} calls of one text       {calls:8.3} ms: {:.2} x the batch",
        calls / batch
    );
    println!("of which {} are dropped   {dropped:8.3} ms", CALLS - 1);
    println!(
        "one idle call              {idle:8.3} ms: {:+.3} ms to the engine's {alone:.3}",
        idle - alone
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! Memory of a process that answers many mixed requests.
//!
//!     cargo run --example memory -- MODEL VARIANT native|rten|onnxruntime [REQUESTS [SECONDS]]
//!
//! Each request is a text, every tenth four texts, of 2 to 200 tokens, mostly short. Prints resident memory in MB before
//! the first, after each tenth of them and at the end; after SECONDS it stops early. Linux only.

use std::error::Error;
use std::time::{Duration, Instant};

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder, Input};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, variant, backend, limits @ ..] = args.as_slice() else {
        return Err("MODEL VARIANT BACKEND [REQUESTS [SECONDS]]".into());
    };
    let backend = match backend.as_str() {
        "native" => BackendChoice::Native,
        "rten" => BackendChoice::Rten,
        "onnxruntime" => BackendChoice::OnnxRuntime,
        _ => return Err("the backend is native, rten or onnxruntime".into()),
    };
    let limit = |i: usize, default: u32| match limits.get(i) {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let (requests, seconds) = (limit(0, 1000)?, limit(1, u32::MAX)?);
    let embedder = Embedder::builder().model(model).variant(variant);
    let embedder = embedder.backend(backend).build()?;
    println!("     0 requests: {:>5} MB", resident()?);
    let start = Instant::now();
    let mut tokens = 0;
    for i in 0..requests {
        let texts: Vec<Input<'_>> = (0..if i % 10 == 0 { 4 } else { 1 })
            .map(|t| text(4 * i + t))
            .collect();
        tokens += embedder
            .embed(&texts, &EmbedOptions::default())?
            .total_tokens;
        let done = i + 1;
        let over = start.elapsed() > Duration::from_secs(u64::from(seconds));
        if done % (requests / 10).max(1) == 0 || over {
            let (memory, elapsed) = (resident()?, start.elapsed().as_secs());
            println!("{done:>6} requests: {memory:>5} MB, {tokens} tokens, {elapsed} s");
        }
        if over {
            break;
        }
    }
    Ok(())
}

/// Text number `i`: half of them have up to 13 tokens, one in ten 50 or more. Small ids are in
/// every vocabulary.
fn text(i: u32) -> Input<'static> {
    let random = i.wrapping_mul(2_654_435_761) >> 8;
    let length = match random % 10 {
        0..5 => 1 + random / 10 % 12,
        5..9 => 12 + random / 10 % 38,
        _ => 50 + random / 10 % 150,
    };
    let ids: Vec<u32> = (0..length).map(|t| (random + t * 37) % 200).collect();
    Input::from(ids)
}

/// Resident memory in MB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = kib.ok_or("the system doesn't tell")?.parse()?;
    Ok(kib * 1024 / 1_000_000)
}

//! Tokens per second of a model on this CPU, per tier.
//!
//! `cargo bench -p akidb-native --bench forward [-- DIRECTORY FILE [TIER [TEXTSxTOKENS …]]]`: the
//! built-in model, or another directory with its ONNX file. Two threads; medians of 5 runs over random ids, after
//! one run to warm up.
//!
//! The built-in model on two mostly idle cores of an AMD EPYC (Zen 4), avx512: 1 x 5 tokens 0.56 ms,
//! 8 x 5 tokens 3.5 ms, 8 x 128 tokens 46 ms (22 200 tokens/s).

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use akidb_backend::{Backend, TokenBatch};
use akidb_kernels::Isa;
use akidb_native::{Engine, EngineOptions, Precision};
use akidb_onnx::model::OnnxModel;
use akidb_transformer::{DecoderConfig, recognise};

const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let (dir, file) = match (args.next(), args.next()) {
        (Some(dir), Some(file)) => (PathBuf::from(dir), file),
        _ => (
            akidb_testing::builtin_model_dir(),
            "onnx/model_fp16.onnx".to_owned(),
        ),
    };
    let tier: Option<Isa> = args.next().map(|tier| tier.parse()).transpose()?;
    let mut work = Vec::new();
    for arg in args {
        let (texts, tokens) = arg.split_once('x').ok_or("work is TEXTSxTOKENS")?;
        work.push((texts.parse()?, tokens.parse()?));
    }
    if work.is_empty() {
        work = vec![(1, 5), (8, 5), (32, 5), (8, 128), (1, 512), (1, 2048)];
    }
    let config = DecoderConfig::open(&dir.join("config.json"))?;
    let decoder = recognise(&OnnxModel::open(&dir.join(file))?, Some(&config))?;
    for isa in Isa::available().filter(|isa| tier.is_none_or(|tier| tier == *isa)) {
        let start = Instant::now();
        let options = EngineOptions {
            threads: NonZeroUsize::new(2),
            isa: Some(isa),
            precision: Precision::Auto,
            ..EngineOptions::default()
        };
        let engine = Engine::new(&decoder, options)?;
        println!("{isa}: loaded in {:.0?}", start.elapsed());
        for &(texts, tokens) in &work {
            let batch: TokenBatch = (0..texts)
                .map(|text| ids(text, tokens, config.vocab_size))
                .collect();
            let mut out = vec![0.0; texts * config.hidden_size];
            engine.forward(&batch, &mut out)?;
            let mut seconds = Vec::new();
            for _ in 0..RUNS {
                let start = Instant::now();
                engine.forward(&batch, &mut out)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            seconds.sort_by(f64::total_cmp);
            let median = seconds[RUNS / 2];
            let rate = (texts * tokens) as f64 / median;
            println!(
                "{isa:>8}  {texts:>2} x {tokens:>4} tokens  {:9.2} ms  {rate:9.0} tokens/s",
                median * 1e3
            );
        }
    }
    Ok(())
}

fn ids(text: usize, tokens: usize, vocab_size: usize) -> Vec<u32> {
    (0..tokens)
        .map(|i| ((text * 7919 + i * 104_729) % vocab_size) as u32)
        .collect()
}

//! The part of the report that is about a model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use akidb_embedding::{
    BackendChoice, EmbedError, EmbedOptions, Embedder, Precision, Provenance, RerankOptions,
    Reranker,
};
use akidb_onnxruntime::coreml::Coverage;

use super::checks::Checks;
use crate::args::ChosenModel;
use crate::commands::optimize::coverages;
use crate::error::{CliError, chain};

/// What is timed: a short query.
const TEXT: &str = "How do I resume an interrupted download?";
const WARM_UP_RUNS: usize = 2;
const TIMED_RUNS: usize = 9;

#[derive(Debug, Default, Serialize)]
pub(super) struct ModelReport {
    /// What `auto` takes.
    pub(super) auto: Option<Provenance>,
    /// Why no backend runs it.
    pub(super) error: Option<String>,
    pub(super) backends: Vec<BackendReport>,
    /// What CoreML takes of each graph of the model, by the file.
    pub(super) coreml: BTreeMap<String, Coverage>,
    /// Whether that is told to people: it is there, or named.
    #[serde(skip)]
    pub(super) tells_coreml: bool,
    pub(super) checks: Option<Checks>,
}

#[derive(Debug, Serialize)]
pub(super) struct BackendReport {
    pub(super) backend: &'static str,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Runs {
        precision: String,
        device: String,
        load_ms: f64,
        /// Median.
        one_text_ms: f64,
        tokens: usize,
    },
    Fails {
        why: String,
    },
}

impl ModelReport {
    pub(super) fn make(args: ChosenModel<'_>, coreml_named: bool) -> Self {
        let mut report = Self::default();
        match load(args, BackendChoice::Auto)
            .and_then(|embedder| Ok(Timed::from(embedder).provenance()?))
        {
            Ok(provenance) => report.auto = Some(provenance),
            Err(error) => report.error = Some(chain(&error)),
        }
        for (backend, choice) in [
            ("native", BackendChoice::Native),
            ("rten", BackendChoice::Rten),
            ("onnxruntime", BackendChoice::OnnxRuntime),
        ] {
            let outcome =
                time(args, choice).unwrap_or_else(|error| Outcome::Fails { why: chain(&error) });
            report.backends.push(BackendReport { backend, outcome });
        }
        // What can't be read was told with the backends.
        report.coreml = coreml(args).unwrap_or_default();
        report.tells_coreml = coreml_named || cfg!(target_os = "macos");
        let what = report.auto.as_ref().map(|auto| {
            let (variant, dimension, pooling) = (&auto.variant, auto.dimension, &auto.pooling);
            match auto.scoring {
                Some(_) => format!("{variant} weights, scores documents for a query"),
                None => {
                    format!("{variant} weights, vectors of {dimension} values, {pooling} pooling")
                }
            }
        });
        report.checks = Some(Checks::make(args, what, report.error.is_none()));
        report
    }
}

fn coreml(args: ChosenModel<'_>) -> Result<BTreeMap<String, Coverage>, CliError> {
    let (files, weights) = args.files()?;
    Ok(coverages(&files, &weights.source.graphs()?))
}

fn load(args: ChosenModel<'_>, choice: BackendChoice) -> Result<Embedder, CliError> {
    args.load_with(|builder| match choice {
        // A precision that is named is the native engine's.
        BackendChoice::Rten | BackendChoice::OnnxRuntime => {
            builder.backend(choice).precision(Precision::Auto)
        }
        _ => builder.backend(choice),
    })
}

/// A model, and what is timed of it.
enum Timed {
    Embedder(Box<Embedder>),
    Reranker(Reranker),
}

impl From<Embedder> for Timed {
    fn from(embedder: Embedder) -> Self {
        match embedder.check_embeds() {
            Ok(()) => Self::Embedder(Box::new(embedder)),
            Err(_) => Self::Reranker(Arc::new(embedder).into()),
        }
    }
}

impl Timed {
    fn provenance(&self) -> Result<Provenance, EmbedError> {
        match self {
            Self::Embedder(embedder) => embedder.provenance(&EmbedOptions::default()),
            Self::Reranker(reranker) => reranker.provenance(&RerankOptions::default()),
        }
    }

    /// Embeds the text, or scores it as the document of itself; its tokens.
    fn run(&self) -> Result<usize, EmbedError> {
        match self {
            Self::Embedder(embedder) => {
                let answer = embedder.embed(&[TEXT], &EmbedOptions::default())?;
                Ok(answer.total_tokens)
            }
            Self::Reranker(reranker) => {
                let scores = reranker.rerank(TEXT, &[TEXT], &RerankOptions::default())?;
                Ok(scores.iter().map(|score| score.tokens).sum())
            }
        }
    }
}

fn time(args: ChosenModel<'_>, choice: BackendChoice) -> Result<Outcome, CliError> {
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let model = Timed::from(load(args, choice)?);
    let load_ms = milliseconds(start);
    let mut tokens = 0;
    let mut times = Vec::with_capacity(TIMED_RUNS);
    for run in 0..WARM_UP_RUNS + TIMED_RUNS {
        let start = Instant::now();
        tokens = model.run()?;
        if run >= WARM_UP_RUNS {
            times.push(milliseconds(start));
        }
    }
    times.sort_by(f64::total_cmp);
    let provenance = model.provenance()?;
    Ok(Outcome::Runs {
        precision: provenance.precision,
        device: provenance.device,
        load_ms,
        one_text_ms: times[times.len() / 2],
        tokens,
    })
}

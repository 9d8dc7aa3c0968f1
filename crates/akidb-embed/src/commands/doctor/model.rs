//! The part of the report that is about a model.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder, Precision, Provenance};
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
        match load(args, BackendChoice::Auto).and_then(|embedder| {
            let provenance = embedder.provenance(&EmbedOptions::default());
            Ok(provenance?)
        }) {
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
            format!("{variant} weights, vectors of {dimension} values, {pooling} pooling")
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

fn time(args: ChosenModel<'_>, choice: BackendChoice) -> Result<Outcome, CliError> {
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let options = EmbedOptions::default();
    let start = Instant::now();
    let embedder = load(args, choice)?;
    let load_ms = milliseconds(start);
    let mut tokens = 0;
    let mut times = Vec::with_capacity(TIMED_RUNS);
    for run in 0..WARM_UP_RUNS + TIMED_RUNS {
        let start = Instant::now();
        tokens = embedder.embed(&[TEXT], &options)?.total_tokens;
        if run >= WARM_UP_RUNS {
            times.push(milliseconds(start));
        }
    }
    times.sort_by(f64::total_cmp);
    let provenance = embedder.provenance(&options)?;
    Ok(Outcome::Runs {
        precision: provenance.precision,
        device: provenance.device,
        load_ms,
        one_text_ms: times[times.len() / 2],
        tokens,
    })
}

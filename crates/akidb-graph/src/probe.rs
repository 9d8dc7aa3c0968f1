//! What only a run tells: how wide the output is, and whether texts may share a run.

use akidb_backend::{BackendError, BackendErrorKind};

use crate::facts::GraphFacts;
use crate::guard::catch_panic;
use crate::inputs::{Padding, Texts};
use crate::rows::Rows;
use crate::runner::{Engine, Runner};

/// Ids that any vocabulary holds and that are no padding, which some graphs mask by id.
const TEXTS: [&[u32]; 2] = [&[2], &[3, 5, 4]];

/// Whether texts may share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Yes, with `mask` as the padding's attention mask.
    Padded { mask: u32 },
    /// The graph takes one text at a time, or fails with two.
    Pinned,
    /// A text's row changes with its neighbours or with padding.
    Coupled,
}

impl Batching {
    /// For [`akidb_backend::BackendInfo::device`].
    pub(crate) fn describe(self, device: &str) -> String {
        match self {
            Self::Padded { .. } => device.to_owned(),
            Self::Pinned => format!("{device}, one text at a time (the graph takes no batches)"),
            Self::Coupled => {
                format!("{device}, one text at a time (batches change a text's vector)")
            }
        }
    }
}

pub(crate) struct Probed {
    pub(crate) width: usize,
    pub(crate) pooled_by_graph: bool,
    pub(crate) batching: Batching,
}

/// Runs two short texts, each alone and then together.
pub(crate) fn probe(
    runner: &impl Runner,
    facts: &GraphFacts,
    engine: &Engine,
    pad_token_id: u32,
) -> Result<Probed, BackendError> {
    let padding = |mask| Padding {
        id: pad_token_id,
        mask,
    };
    let longest = TEXTS.map(<[u32]>::len).into_iter().max().unwrap_or(0);
    let layout = runner.layout();
    if layout.most_tokens().is_some_and(|most| most < longest) {
        return Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            "the graph takes texts of one or two tokens only",
        ));
    }
    let run = |text: &[u32]| {
        let texts = Texts {
            ids: &[text],
            second_segments: &[],
            padding: padding(0),
            task: 0,
        };
        runner.run(&texts).map_err(not_runnable)
    };
    let [short, long] = TEXTS.map(run);
    let alone = [short?, long?];
    let width = alone[0].width();
    if alone[1].width() != width {
        return Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the output's width depends on the text: {width} and {}",
                alone[1].width()
            ),
        ));
    }
    let batching = if facts.quantizes_activations() {
        Batching::Coupled
    } else if layout.most_texts() == 1 {
        Batching::Pinned
    } else {
        // Some engines refuse a `GroupQueryAttention` with a masked end, but such graphs are causal.
        match together(runner, &alone, engine, padding(0)) {
            padded @ Batching::Padded { .. } => padded,
            Batching::Pinned | Batching::Coupled => together(runner, &alone, engine, padding(1)),
        }
    };
    Ok(Probed {
        width,
        pooled_by_graph: alone[0].pooled_by_graph(),
        batching,
    })
}

/// A graph that fails on three tokens is one that the engine can't run.
fn not_runnable(error: BackendError) -> BackendError {
    match error.kind() {
        BackendErrorKind::Failed => BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("a trial run failed: {error}"),
        ),
        _ => error,
    }
}

fn together(
    runner: &impl Runner,
    alone: &[Rows; 2],
    engine: &Engine,
    padding: Padding,
) -> Batching {
    let texts = Texts {
        ids: &TEXTS,
        second_segments: &[],
        padding,
        task: 0,
    };
    let run = || runner.run(&texts);
    match catch_panic(engine.name, "running two texts", run) {
        Err(_) => Batching::Pinned,
        Ok(both) => {
            if (0..2).all(|i| same(alone[i].row(0), both.row(i), engine.tolerance)) {
                Batching::Padded { mask: padding.mask }
            } else {
                Batching::Coupled
            }
        }
    }
}

/// True when `beside` is `alone` within `tolerance` of the row's length.
fn same(alone: &[f32], beside: &[f32], tolerance: f32) -> bool {
    let norm = alone.iter().map(|x| x * x).sum::<f32>().sqrt();
    let differences = alone.iter().zip(beside).map(|(a, b)| (a - b) * (a - b));
    alone.len() == beside.len() && differences.sum::<f32>().sqrt() <= tolerance * norm
}

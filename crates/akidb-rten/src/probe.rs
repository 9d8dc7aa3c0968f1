//! What only a run tells: how wide the output is, and whether texts may share a run.

use akidb_backend::{BackendError, BackendErrorKind};

use crate::graph::GraphFacts;
use crate::guard;
use crate::runner::{Rows, Runner};

/// Ids that any vocabulary holds and that are no padding, which some graphs mask by id.
const TEXTS: [&[u32]; 2] = [&[2], &[3, 5, 4]];

/// Largest distance, relative to the row's length, between a text's row alone and beside another.
/// f32 rounding makes about 1e-6, quantized activations more than 1e-3.
const TOLERANCE: f32 = 1e-4;

/// Whether texts may share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Yes, padded on the right, with `mask` as the padding's attention mask.
    Padded { mask: u32 },
    /// The graph fails with two texts.
    Pinned,
    /// A text's row changes with its neighbours or with padding.
    Coupled,
}

impl Batching {
    /// For [`akidb_backend::BackendInfo::device`].
    pub(crate) fn device(self) -> &'static str {
        match self {
            Self::Padded { .. } => "cpu",
            Self::Pinned => "cpu, one text at a time (the graph takes no batches)",
            Self::Coupled => "cpu, one text at a time (batches change a text's vector)",
        }
    }
}

pub(crate) struct Probed {
    pub(crate) width: usize,
    pub(crate) batching: Batching,
}

/// Runs two short texts, each alone and then together.
pub(crate) fn probe(runner: &Runner, facts: &GraphFacts) -> Result<Probed, BackendError> {
    let [short, long] = TEXTS.map(|text| runner.run(&[text], 0).map_err(not_runnable));
    let alone = [short?, long?];
    let width = alone[0].width;
    if alone[1].width != width {
        return Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the output's width depends on the text: {width} and {}",
                alone[1].width
            ),
        ));
    }
    let batching = if facts.quantizes_activations() {
        Batching::Coupled
    } else {
        // RTen refuses a `GroupQueryAttention` with a masked end, but such graphs are causal.
        match together(runner, &alone, 0) {
            padded @ Batching::Padded { .. } => padded,
            Batching::Pinned | Batching::Coupled => together(runner, &alone, 1),
        }
    };
    Ok(Probed { width, batching })
}

/// A graph that fails on three tokens is one that RTen can't run.
fn not_runnable(error: BackendError) -> BackendError {
    match error.kind() {
        BackendErrorKind::Failed => BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("a trial run failed: {error}"),
        ),
        _ => error,
    }
}

fn together(runner: &Runner, alone: &[Rows; 2], mask: u32) -> Batching {
    match guard::catch("running two texts", || runner.run(&TEXTS, mask)) {
        Err(_) => Batching::Pinned,
        Ok(both) => {
            if (0..2).all(|i| same(alone[i].row(0), both.row(i))) {
                Batching::Padded { mask }
            } else {
                Batching::Coupled
            }
        }
    }
}

/// True when `beside` is `alone` within [`TOLERANCE`].
fn same(alone: &[f32], beside: &[f32]) -> bool {
    let norm = alone.iter().map(|x| x * x).sum::<f32>().sqrt();
    let differences = alone.iter().zip(beside).map(|(a, b)| (a - b) * (a - b));
    alone.len() == beside.len() && differences.sum::<f32>().sqrt() <= TOLERANCE * norm
}

//! Which of the graph's outputs is the embedding.

use akidb_backend::{BackendError, BackendErrorKind};
use rten::{DataType, Model, NodeId, ValueType};

/// The names that exporters give to the hidden states, in the order of preference.
const HIDDEN_STATES: [&str; 3] = ["last_hidden_state", "hidden_states", "token_embeddings"];

/// The graph output to ask for; nothing else is computed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) id: NodeId,
    pub(crate) name: String,
}

impl Output {
    /// The output called `wanted`, or the one that [`crate::RtenOptions::output`] describes.
    ///
    /// # Errors
    /// When there is none; the error lists what there is.
    pub(crate) fn choose(model: &Model, wanted: Option<&str>) -> Result<Self, BackendError> {
        let candidates: Vec<Candidate> = candidates(model);
        let named = |name| candidates.iter().find(|c| c.name == name);
        let chosen = match wanted {
            Some(wanted) => named(wanted),
            None => named("sentence_embedding")
                .filter(|c| c.rank.is_none_or(|rank| rank == 2))
                .or_else(|| HIDDEN_STATES.into_iter().find_map(named))
                .or_else(|| candidates.iter().find(|c| c.holds_hidden_states())),
        };
        match chosen {
            Some(chosen) => Ok(Self {
                id: chosen.id,
                name: chosen.name.to_owned(),
            }),
            None => Err(none_of(&candidates, wanted)),
        }
    }
}

struct Candidate<'a> {
    id: NodeId,
    name: &'a str,
    dtype: Option<ValueType>,
    rank: Option<usize>,
}

impl Candidate<'_> {
    fn holds_hidden_states(&self) -> bool {
        self.rank == Some(3)
            && self.dtype == Some(ValueType::Tensor(DataType::Float))
            && !self.name.starts_with("present")
    }
}

fn candidates(model: &Model) -> Vec<Candidate<'_>> {
    let ids = model.output_ids().iter();
    ids.filter_map(|&id| {
        let info = model.node_info(id)?;
        Some(Candidate {
            id,
            name: info.name()?,
            dtype: info.dtype(),
            rank: info.shape().map(|shape| shape.len()),
        })
    })
    .collect()
}

fn none_of(candidates: &[Candidate<'_>], wanted: Option<&str>) -> BackendError {
    let (kind, what) = match wanted {
        Some(wanted) => (
            BackendErrorKind::InvalidInput,
            format!("the graph has no output {wanted:?}"),
        ),
        None => (
            BackendErrorKind::UnsupportedModel,
            "none of the graph's outputs looks like an embedding".to_owned(),
        ),
    };
    let names: Vec<_> = candidates.iter().map(|c| format!("{:?}", c.name)).collect();
    BackendError::new(kind, format!("{what}; it has {}", names.join(", ")))
}

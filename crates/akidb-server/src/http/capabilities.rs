//! What a model can do, as the lists of models say it.

use serde::Serialize;
use utoipa::ToSchema;

use akidb_embedding::Scoring;

use crate::service::{ModelFacts, ModelStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Capabilities {
    /// Whether it makes vectors: a reranker doesn't.
    embed: bool,
    /// Whether it ranks documents: every model does, in one way or the other.
    rerank: bool,
    /// How it does: `model`, which reads query and document together, or `cosine` of their vectors.
    #[schema(example = "cosine")]
    scoring: &'static str,
}

impl Capabilities {
    fn new(embed: bool, scoring: Scoring) -> Self {
        Self {
            embed,
            rerank: true,
            scoring: scoring.as_str(),
        }
    }
}

impl From<&ModelFacts> for Capabilities {
    fn from(model: &ModelFacts) -> Self {
        Self::new(model.embeds, model.scoring)
    }
}

impl From<&ModelStatus> for Capabilities {
    fn from(model: &ModelStatus) -> Self {
        Self::new(model.description.embeds, model.description.scoring)
    }
}

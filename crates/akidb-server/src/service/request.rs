//! What goes in and what comes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use akidb_embedding::{EmbedOptions, Embedding, Input, Provenance};
use akidb_schedule::Class;

/// Texts to embed, and for whom.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// The model's name; without one, the default model.
    pub model: Option<String>,
    /// Texts or token ids.
    pub inputs: Vec<Input<'static>>,
    /// How they become vectors.
    pub options: EmbedOptions,
    /// How urgent it is.
    pub class: Class,
    /// Who asks, so that clients of one class get equal shares: an API key's name or an address.
    pub client: Arc<str>,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

/// The vectors of a request.
#[derive(Debug, Clone)]
pub struct EmbedAnswer {
    /// One per input, in order.
    pub embeddings: Vec<Embedding>,
    /// Tokens of all inputs.
    pub total_tokens: usize,
    /// Where the vectors come from.
    pub provenance: Arc<Provenance>,
    /// What took how long.
    pub timing: Timing,
}

/// What took how long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Loading the model where that was needed, and texts to tokens.
    pub tokenize: Duration,
    /// From there to the start of the first pass.
    pub queue: Duration,
    /// From there to the last vector.
    pub compute: Duration,
}

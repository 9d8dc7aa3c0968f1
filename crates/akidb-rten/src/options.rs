//! What the caller knows of the model, and how it wants it run.

use std::num::NonZeroUsize;

use akidb_backend::Pooling;
use akidb_graph::GraphOptions;

/// How to load and run a model.
///
/// ```
/// use akidb_backend::Pooling;
/// use akidb_rten::{GraphOptions, RtenOptions};
///
/// let options = RtenOptions {
///     graph: GraphOptions {
///         max_tokens: Some(512),
///         ..GraphOptions::new(Pooling::Mean)
///     },
///     ..RtenOptions::new(Pooling::Mean)
/// };
/// assert_eq!(options.threads, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtenOptions {
    /// What the caller knows of the model.
    pub graph: GraphOptions,
    /// Threads of one run; `None` takes the processor's physical cores.
    pub threads: Option<NonZeroUsize>,
    /// Keep a second copy of the weights in the layout that products need. Short texts run
    /// several times faster, weights take twice the memory.
    pub prepack_weights: bool,
}

impl RtenOptions {
    /// `pooling`, and the default of everything else: nothing stated, nothing limited, weights
    /// not prepacked, pad id 0.
    pub fn new(pooling: Pooling) -> Self {
        Self {
            graph: GraphOptions::new(pooling),
            threads: None,
            prepack_weights: false,
        }
    }
}

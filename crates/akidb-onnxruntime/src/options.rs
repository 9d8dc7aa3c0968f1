//! How a model is run.

use std::num::NonZeroUsize;

use akidb_backend::{Pooling, choice};
use akidb_graph::GraphOptions;
use serde::{Deserialize, Serialize};

use crate::provider::ProviderChoice;

/// How to load and run a model.
///
/// ```
/// use akidb_backend::Pooling;
/// use akidb_onnxruntime::{OnnxRuntimeOptions, Provider, ProviderChoice};
///
/// let options = OnnxRuntimeOptions {
///     provider: ProviderChoice::Named(Provider::Cpu),
///     ..OnnxRuntimeOptions::new(Pooling::Mean)
/// };
/// assert!(options.session.arena);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxRuntimeOptions {
    /// What the caller knows of the model.
    pub graph: GraphOptions,
    /// What runs it.
    pub provider: ProviderChoice,
    /// Threads of one run; `None` takes the processor's physical cores.
    pub threads: Option<NonZeroUsize>,
    /// Settings of ONNX Runtime itself.
    pub session: SessionOptions,
}

impl OnnxRuntimeOptions {
    /// `pooling`, and the default of everything else.
    pub fn new(pooling: Pooling) -> Self {
        Self {
            graph: GraphOptions::new(pooling),
            provider: ProviderChoice::Auto,
            threads: None,
            session: SessionOptions::default(),
        }
    }
}

/// Settings of an ONNX Runtime session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionOptions {
    /// Keep the memory of past runs for the next ones: what the largest run has needed, which
    /// `akidb-graph` bounds. On by default: quicker, and without it the system's allocator ends up with
    /// more.
    pub arena: bool,
    /// Keep a plan of the memory for each shape. Off by default: of use where all texts have one
    /// length.
    pub memory_pattern: bool,
    /// How much ONNX Runtime rewrites the graph.
    pub optimization: Optimization,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            arena: true,
            memory_pattern: false,
            optimization: Optimization::All,
        }
    }
}

/// How much ONNX Runtime rewrites a graph before it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Optimization {
    /// Not at all.
    Disabled,
    /// Constants folded, nodes without effect left out.
    Basic,
    /// Fused operators too.
    Extended,
    /// All there is.
    #[default]
    All,
}

choice!(Optimization, "optimization",
    Disabled = "disabled": "Not at all",
    Basic = "basic": "Fold constants",
    Extended = "extended": "Fuse operators too",
    All = "all": "All there is",
);

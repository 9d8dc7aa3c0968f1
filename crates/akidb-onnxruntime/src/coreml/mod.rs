//! Graphs for ONNX Runtime's CoreML provider: which nodes of a graph it takes, graphs of a
//! recognised decoder that it can take whole, and what runs these.
//!
//! [`coverage`] judges by what ONNX Runtime documents; CoreML itself is not asked.

mod coverage;
mod graph;
mod judge;
mod manifest;
mod operators;
mod partition;
mod precision;
mod read;
mod render;
mod shape;
mod spell;
mod static_shapes;
mod weights;
mod write;

pub use coverage::{Coverage, OperatorCount, Refusal, coverage};
pub use manifest::{
    EmbedTokens, INPUTS_EMBEDS, LAST_HIDDEN_STATE, LAST_TOKEN, MANIFEST, Manifest, ShapeFile,
};
pub use operators::{MAX_DIMENSION, MAX_RANK, SOURCES};
pub use precision::Precision;
pub use read::{StaticFiles, StaticGraph, read};
pub use shape::{StaticShape, check_shapes};
pub use static_shapes::StaticShapeModel;
pub use write::{WriteOptions, write};

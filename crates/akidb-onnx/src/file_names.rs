//! Names of files that several crates look for.

/// The list of graphs of fixed shapes that were written for CoreML, in a model's directory.
pub const COREML_MANIFEST: &str = "coreml.json";

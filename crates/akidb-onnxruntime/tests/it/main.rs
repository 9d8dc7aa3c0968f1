//! Graphs in the ONNX Runtime library that is here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

// The tests that need a process of their own use it, too.
#[path = "../common/mod.rs"]
mod common;
mod coreml;
mod decoders;
mod plugin;
mod refusals;

//! What is read, found and foreseen of graphs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod run_memory;
mod shapes;
mod validate;

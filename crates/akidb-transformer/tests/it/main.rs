//! What is recognised, and what only looks like it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod dequantize_linear;
mod encoders;
mod families;
mod forms;
mod fuzz_seeds;
mod group_query_attention;
mod hostile_files;
mod hostile_graph;
mod hostile_quantized;
mod inspect;
mod quantized;
mod recognise;
mod standard_operators;
mod traced;

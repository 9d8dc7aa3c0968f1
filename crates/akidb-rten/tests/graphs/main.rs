//! Graphs written for the test: what the backend makes of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod builder;
mod encoder;
mod encoders;
mod external;
mod memory;
mod refusals;

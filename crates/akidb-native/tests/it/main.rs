//! The engine, whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changed_files;
mod common;
mod every_token;
mod goldens;
mod int8;
mod reference;
mod refusals;
mod same_bits;

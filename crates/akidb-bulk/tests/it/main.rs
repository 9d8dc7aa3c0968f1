//! What goes in comes out.
#![cfg(feature = "corpus")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod common;
mod inputs;
mod once;
mod one_file;
mod refusals;

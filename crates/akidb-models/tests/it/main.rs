//! Models on this machine and on a hub.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod bundle;
mod common;
mod faults;
mod pull;
mod replace;
mod store;

//! What the backend makes of graphs: those written for the test, and the fixtures.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod builder;
mod decoders;
mod encoder;
mod encoders;
mod external;
mod memory;
mod refusals;

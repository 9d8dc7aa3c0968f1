//! Graphs written for the test: what the backend makes of them.

mod builder;
mod encoder;
mod encoders;
mod refusals;

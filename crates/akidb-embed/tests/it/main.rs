//! The program as its users meet it.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod bad_input;
mod cli;
mod common;
mod corpus;
mod doctor;
mod grammar;
mod models;
mod models_https;
mod models_killed;
mod onnxruntime;
mod optimize;
mod packed_weights;
mod per_text_errors;
mod rows;
mod serve;
mod serve_faults;
mod validate;
mod verify;

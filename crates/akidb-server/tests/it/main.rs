//! The server as its clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod docs;
mod faults;
mod grpc;
mod http;
mod proto;
mod rerank;
mod service;
mod tls;

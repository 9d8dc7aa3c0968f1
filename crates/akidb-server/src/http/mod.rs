//! Interfaces of JSON over HTTP, one a file, and what they have in common.

mod answer;
mod body;
mod capabilities;
pub(crate) mod cohere;
mod inputs;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod rerank;
mod schemas;
mod surrogates;
pub(crate) mod tei;
mod truncate;
mod unread;

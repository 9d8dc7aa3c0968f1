//! How texts are brought to an ONNX graph that an engine runs as a whole.
//!
//! An engine loads a graph and implements [`Runner`]: one batch of padded texts in, one pooled row
//! a text out. This crate does what is the same for every engine: it finds out what the graph takes
//! ([`Inputs`]) and which of its outputs is the embedding ([`Output`]), pools ([`Rows`]), learns
//! by a trial whether texts may share a run, and brings texts of similar length together
//! ([`GraphModel`]).
//!
//! Before each run, [`Admission`] finds out how much memory it will need: a graph of a few bytes can
//! ask for more than there is, and engines end the process then.
//!
//! Not every graph may run several texts at once. Loading tries it and says what was found in
//! [`BackendInfo::device`](akidb_backend::BackendInfo::device): graphs of a fixed batch size, and
//! those in which a text's vector changes with its neighbours (one activation scale for a whole
//! batch, as `DynamicQuantizeLinear` makes), run one text at a time.
#![forbid(unsafe_code)]

mod admission;
mod available_memory;
mod call;
mod declared;
mod facts;
mod groups;
mod guard;
mod inputs;
mod layout;
mod model;
mod options;
mod output;
mod past;
mod probe;
mod rows;
mod runner;
mod source;

pub use admission::{Admission, FixedAdmission};
pub use call::check_call;
pub use facts::GraphFacts;
pub use guard::catch_panic;
pub use inputs::{ElementType, Input, Inputs, Padding, Role, Texts};
pub use layout::TextLayout;
pub use model::GraphModel;
pub use options::{GraphOptions, OutputChoice};
pub use output::Output;
pub use rows::Rows;
pub use runner::{Engine, Runner};
pub use source::{GraphBytes, GraphSource, invalid_model};

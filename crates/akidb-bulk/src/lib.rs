//! Many texts to vectors: where texts come from, where vectors go, and the loop between them.
//!
//! [`Rows`] reads texts with what belongs to them; [`Bulk`] embeds them some at a time; a
//! [`VectorWriter`] takes the vectors, and [`FileWriter`] is the one that writes files. What is wrong
//! with one row is told with its line, and harms no other.
//!
//! ```
//! use akidb_bulk::{Bulk, Destination, FileWriter, Format, NoListener, Rows};
//! use akidb_embedding::{EmbedOptions, Embedder};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("vectors.jsonl");
//! let embedder = Embedder::builder().model("akidb-mini").build()?;
//! let options = EmbedOptions::default();
//!
//! let mut rows = Rows::lines("a text\nand another\n".as_bytes(), "an example");
//! let provenance = embedder.provenance(&options)?;
//! let columns = rows.columns().clone();
//! let destination = Destination::open(&path)?;
//! let mut writer = FileWriter::new(Format::Jsonl, destination, provenance, columns)?;
//! let summary = Bulk::new(&embedder, &options).run(&mut rows, &mut writer, &mut NoListener)?;
//! writer.finish()?;
//! assert_eq!((summary.embedded, summary.failed), (2, 0));
//! assert_eq!(std::fs::read_to_string(path)?.lines().count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod bulk;
#[cfg(feature = "corpus")]
pub mod corpus;
mod destination;
mod error;
mod read;
mod replaced_file;
mod row;
mod write;

pub use bulk::{Bulk, Listener, NoListener, OnError, Summary};
pub use destination::Destination;
pub use error::{BulkError, RowError};
pub use read::{Fields, Rows};
pub use row::{Columns, Row};
pub use write::{FailedRow, FileWriter, Format, Interrupted, VectorWriter};

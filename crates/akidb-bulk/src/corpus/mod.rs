//! A corpus of many files: what goes in comes out exactly once, whatever happens on the way.
//!
//! A [`Plan`] cuts the input into units; a [`Runner`] computes them, all of them or one at a time, and
//! writes each to a file of its own in a [`Folder`]; [`Manifest::finish`] looks whether all are there.
//! A unit's name is a hash of what its vectors depend on, and its file appears when it is whole: what
//! is there is done, whoever has done it.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use akidb_bulk::NoListener;
//! use akidb_bulk::corpus::{CorpusSettings, Folder, Manifest, Outcome, Plan, Runner};
//! use akidb_embedding::{EmbedOptions, Embedder};
//!
//! let directory = tempfile::tempdir()?;
//! let input = directory.path().join("docs.jsonl");
//! std::fs::write(&input, "{\"text\": \"one\", \"n\": 1}\n{\"text\": \"two\", \"n\": 2}\n")?;
//! let out = directory.path().join("vectors");
//!
//! let embedder = Embedder::builder().model("akidb-mini").build()?;
//! let options = EmbedOptions::default();
//! let settings = CorpusSettings {
//!     inputs: vec![input.to_string_lossy().into_owned()],
//!     id: Some("n".to_owned()),
//!     ..CorpusSettings::default()
//! };
//! let plan = Plan::new(&settings, &embedder, &options, &out, None)?;
//! let folder = Folder::begin(&out, &plan, None)?;
//! let runner = Runner::new(&embedder, &options, &plan, &folder)?;
//! let first = &plan.units[0];
//! assert!(matches!(runner.run_unit(first)?, Outcome::Written(_)));
//! assert_eq!(runner.run_unit(first)?, Outcome::AlreadyThere);
//! runner.run(&plan.units, &AtomicBool::new(false), &mut NoListener)?;
//! let manifest = Manifest::finish(&out, &plan)?;
//! assert_eq!((manifest.rows_in, manifest.rows_out, manifest.errors), (2, 2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod cells;
mod chunk;
mod claims;
#[cfg(feature = "cloud")]
mod cloud;
mod columns;
mod csv;
mod error;
mod file_state;
mod files;
mod fingerprint;
mod folder;
mod folder_files;
mod input_file;
pub(crate) mod json_types;
mod kind;
mod local_storage;
mod log;
mod manifest;
mod parallel;
mod parquet_file;
mod plan;
mod planned_file;
mod process;
mod records;
mod runner;
mod scan;
mod settings;
mod shard;
mod source;
mod status;
mod storage;
mod template;
mod unit_file;
mod url;
pub(crate) mod vectors;
mod window;

pub use error::CorpusError;
pub use fingerprint::Fingerprint;
pub use folder::Folder;
pub use folder_files::read_plan;
pub use kind::{FileKind, Packing};
pub use manifest::{Manifest, ManifestUnit};
pub use plan::{Plan, Unit};
pub use planned_file::PlannedFile;
pub use runner::{CorpusListener, End, Outcome, Runner};
pub use settings::{Chunks, CorpusSettings, DEFAULT_UNIT_ROWS, Keep, TextFrom, UnitFormat};
pub use shard::Shard;
pub use status::{ShardStatus, Status, Worker};
pub use template::Template;
pub use unit_file::UnitSummary;

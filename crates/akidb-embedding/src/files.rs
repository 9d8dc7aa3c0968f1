//! A model's files, for programs that look into them: found as [`Embedder`](crate::Embedder) finds them.
//!
//! ```
//! use akidb_embedding::files::ModelFiles;
//!
//! let files = ModelFiles::find(Some("akidb-mini"))?;
//! let weights = files.weights(None)?;
//! assert_eq!(weights.variant, "fp16");
//! assert_eq!(weights.source.graphs()?.len(), 1);
//! # Ok::<(), akidb_embedding::EmbedError>(())
//! ```

pub use akidb_onnx::{open_regular_file, read_regular_file};

pub use crate::model::{ModelFiles, Weights, WeightsSource};

//! Packed weights of models that are removed.

use std::path::PathBuf;

use crate::env;

/// Files of the cache with weights that were packed from one of `files`, and their bytes. `files` are
/// canonical paths, of files that may be gone.
pub fn packed_weights_of(files: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let directory = env::packed_weights_directory();
    directory.map_or_else(Vec::new, |d| akidb_native::packs_made_of(&d, files))
}

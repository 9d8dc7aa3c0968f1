//! Packed weights on disk: the next start maps them instead of packing again.

mod cache_error;
mod file;
mod packs;
mod source;
#[cfg(test)]
mod tests;
mod trust;

use std::path::PathBuf;

use akidb_kernels::{Isa, Precision, Weight};
use twox_hash::XxHash3_128;

use crate::dims::Dims;
use crate::pool::Pool;

use cache_error::CacheError;
pub use packs::packs_made_of;
pub use source::SourceFile;

/// Counts the orders in which weights have lain in a pack: one more with every change of what the
/// kernels or the packing write.
const LAYOUT_VERSION: u32 = 2;

/// Smaller packs are made again faster than they are read.
const MIN_BYTES: usize = 16 << 20;

/// Where packed weights are kept, and which files they are made of.
///
/// Packed weights take about as much room as the file that they are made of. One pack is kept for
/// each combination of source files, precision and instructions; it is replaced when a source file,
/// or this program, has changed. A pack is checked before it is used. One that is damaged, out of
/// date or can't be written costs time, and is no error.
///
/// ```no_run
/// use akidb_native::{EngineOptions, PackedCache, SourceFile};
///
/// // Before the file is read.
/// let source = SourceFile::new("model.onnx".as_ref())?;
/// let options = EngineOptions {
///     packed_cache: Some(PackedCache::new("/var/cache/packed".into(), vec![source])),
///     ..EngineOptions::default()
/// };
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedCache {
    directory: PathBuf,
    sources: Vec<SourceFile>,
    min_bytes: usize,
}

impl PackedCache {
    /// A cache in `directory`, which is made when it is first written to. `sources` are all files
    /// that weights come from.
    pub fn new(directory: PathBuf, sources: Vec<SourceFile>) -> Self {
        Self {
            directory,
            sources,
            min_bytes: MIN_BYTES,
        }
    }

    /// Sets the number of bytes from which on packed weights are kept; 16 MiB without it.
    pub fn min_bytes(self, min_bytes: usize) -> Self {
        Self { min_bytes, ..self }
    }

    /// The pack of weights that are laid out in this way.
    pub(crate) fn pack(
        &self,
        dims: &Dims,
        layers: usize,
        precision: Precision,
        isa: Isa,
    ) -> CachedPack {
        // What replaces each other has one name.
        let mut name = format!("{precision:?} {isa}");
        let mut identity = format!(
            "akidb-native {}, layout {LAYOUT_VERSION}, {} endian\n{name}, {layers} layers, {dims:?}\n",
            env!("CARGO_PKG_VERSION"),
            if cfg!(target_endian = "little") {
                "little"
            } else {
                "big"
            },
        );
        for source in &self.sources {
            name.push_str(&format!("\n{}", source.path()));
            identity.push_str(&format!("{source}\n"));
        }
        CachedPack {
            path: self.directory.join(format!(
                "{:032x}.{EXTENSION}",
                XxHash3_128::oneshot(name.as_bytes())
            )),
            identity,
            shapes: dims.product_shapes(),
            layers,
            min_bytes: self.min_bytes,
        }
    }
}

/// Of the files of a cache.
const EXTENSION: &str = "akidbpack";

/// A file with the packed weights of one model, which may not exist yet.
#[derive(Debug)]
pub(crate) struct CachedPack {
    path: PathBuf,
    /// All that decides on its contents.
    identity: String,
    /// K and N of each layer's products.
    shapes: Vec<[usize; 2]>,
    layers: usize,
    min_bytes: usize,
}

impl CachedPack {
    /// The products of all layers, if they are there and sound.
    pub(crate) fn read(&self, pool: &Pool) -> Option<Vec<Vec<Weight>>> {
        match self.try_read(pool) {
            Ok(layers) => {
                tracing::debug!(path = %self.path.display(), "packed weights read");
                Some(layers)
            }
            Err(CacheError::Missing) => None,
            Err(CacheError::NotTrusted(reason)) => {
                tracing::warn!(
                    path = %self.path.display(),
                    "packed weights are not used, as another user may have written them: {reason}"
                );
                None
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "packed weights not used");
                None
            }
        }
    }

    /// Keeps the products of all layers, if that is worth it.
    pub(crate) fn write<'w>(&self, products: impl Iterator<Item = &'w Weight>, pool: &Pool) {
        match self.try_write(&products.collect::<Vec<_>>(), pool) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                tracing::debug!(path = %self.path.display(), bytes, "packed weights written");
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "packed weights not written");
            }
        }
    }
}

//! A model as one file, for machines without a network.
//!
//! An uncompressed tar archive: first the manifest, with the checksum of every file, then the files
//! under their names. Checksums tell of damage; they don't tell who made the file.

mod export;
mod import;

use std::io;

use crate::name::NameError;

pub use export::Exported;

/// Longest manifest in a bundle, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// Most files in a bundle.
const MAX_FILES: usize = 1_000;

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It isn't a tar archive, or is cut off.
    #[error("it is not a complete tar archive")]
    Tar(#[source] io::Error),
    /// It is compressed as a whole.
    #[error("it is compressed with {0}, and bundles are not")]
    Compressed(&'static str),
    /// Its first entry isn't a manifest.
    #[error("it does not start with akidb-model.json")]
    NoManifest,
    /// Its manifest can't be read.
    #[error("its manifest is not valid")]
    Manifest(#[source] serde_json::Error),
    /// An entry is no plain file, for example a link.
    #[error("{0:?} is not a plain file")]
    NotAFile(String),
    /// The name of an entry leaves the model's directory, or is no name at all.
    #[error("an entry has a name that is not allowed")]
    Name(#[from] NameError),
    /// The manifest doesn't name this entry, or names it once only.
    #[error("{0} is not in its manifest, or twice in the archive")]
    Unexpected(String),
    /// A file of the manifest is not in the archive.
    #[error("it lacks {0}")]
    Missing(String),
    /// The size of an entry is not the manifest's.
    #[error("{file} has {size} bytes, but the manifest says {expected}")]
    Size {
        /// The file.
        file: String,
        /// Bytes in the archive.
        size: u64,
        /// Bytes in the manifest.
        expected: u64,
    },
    /// The files of the manifest have more bytes than the archive.
    #[error("its manifest promises more bytes than it has")]
    Bomb,
    /// The files of the manifest are no model.
    #[error("its files are not a model: {0}")]
    NoModel(&'static str),
    /// A file is not the one that the manifest names.
    #[error("{0} has another checksum than its manifest says")]
    Checksum(String),
    /// The installed model has another file of this name at the same revision.
    #[error("its {0} is not that of the installed model, which has the same revision")]
    Differs(String),
}

/// Why a bundle can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model's commit isn't known, so a bundle couldn't say what it holds.
    #[error("{0} was put there by hand, so its revision is not known")]
    NoRevision(String),
    /// A file's name is too long for a tar header.
    #[error("the name {file} is too long for a bundle")]
    LongName {
        /// The file.
        file: String,
        /// What the archive library said.
        source: io::Error,
    },
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

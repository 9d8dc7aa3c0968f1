//! What a pull tells while it runs.

use std::time::Duration;

use crate::name::RepoPath;

/// Where steps are told.
pub(crate) type Events<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// A step of a pull. Steps of one file's parts come from several threads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process changes the model; this one waits.
    Waiting,
    /// The variant is chosen.
    Chosen {
        /// The variant.
        variant: &'a str,
        /// Why this one, where the machine decided.
        why: Option<&'a str>,
        /// Files that are needed.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A file is here already; it is read to compare its checksum.
    Checking {
        /// The file.
        file: &'a RepoPath,
        /// Its bytes.
        size: u64,
    },
    /// More of a file that is here was read.
    Read {
        /// The file.
        file: &'a RepoPath,
        /// How many bytes more.
        bytes: u64,
    },
    /// A file is fetched, from byte `already` on in all.
    Started {
        /// The file.
        file: &'a RepoPath,
        /// Its bytes.
        size: u64,
        /// Bytes that an earlier attempt has fetched.
        already: u64,
    },
    /// More of a file is here.
    Arrived {
        /// The file.
        file: &'a RepoPath,
        /// How many bytes more.
        bytes: u64,
    },
    /// Something failed and is tried again after a pause.
    Again {
        /// The file or the model.
        what: &'a str,
        /// Why.
        why: &'a str,
        /// The pause.
        pause: Duration,
    },
    /// A file is complete and its checksum agrees.
    Done {
        /// The file.
        file: &'a RepoPath,
        /// Its bytes.
        size: u64,
    },
}

//! What is known of a file of the input before its content is, and how it will be read.

/// What tells that a file is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) bytes: u64,
    /// When it was last changed, in nanoseconds since 1970, and 0 where the system doesn't say it; a
    /// hash of the ETag in an object store.
    pub(super) version: u64,
}

/// How a file is read, for those that come in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// From one end to the other.
    Through,
    /// Several columns at once.
    Columns,
    /// The end alone.
    Footer,
}

#[cfg(feature = "cloud")]
impl Access {
    pub(super) fn block_bytes(self) -> u64 {
        match self {
            Self::Through => 4 << 20,
            Self::Columns => 1 << 20,
            Self::Footer => 64 << 10,
        }
    }

    /// Blocks that are kept.
    pub(super) fn blocks(self) -> usize {
        match self {
            Self::Through | Self::Footer => 2,
            Self::Columns => 32,
        }
    }
}

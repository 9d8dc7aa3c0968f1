//! A file of the input, on this machine or elsewhere.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use akidb_embedding::files::open_regular_file;
use bytes::Bytes;
use parquet::file::reader::{ChunkReader, Length};

#[cfg(feature = "cloud")]
use super::cloud::ObjectFile;
use super::file_state::{Access, FileState};
#[cfg(feature = "cloud")]
use super::url::url_of;

/// A file that is open.
pub(super) enum InputFile {
    /// On this machine.
    Local(File),
    /// Elsewhere.
    #[cfg(feature = "cloud")]
    Object(ObjectFile),
}

impl InputFile {
    /// # Errors
    /// When there is none, it can't be read, or is no regular file.
    pub(super) fn open(path: &Path, access: Access) -> io::Result<Self> {
        #[cfg(feature = "cloud")]
        if let Some(url) = url_of(path) {
            return Ok(Self::Object(ObjectFile::open(url, access)?));
        }
        #[cfg(not(feature = "cloud"))]
        let _ = access;
        Ok(Self::Local(open_regular_file(path)?))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Local(file) => Self::Local(file.try_clone()?),
            #[cfg(feature = "cloud")]
            Self::Object(file) => Self::Object(file.clone()),
        })
    }

    pub(super) fn state(&self) -> io::Result<FileState> {
        match self {
            Self::Local(file) => {
                let metadata = file.metadata()?;
                let since = metadata.modified().ok();
                let since = since.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                let nanoseconds = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
                Ok(FileState {
                    bytes: metadata.len(),
                    version: nanoseconds.unwrap_or_default(),
                })
            }
            #[cfg(feature = "cloud")]
            Self::Object(file) => Ok(file.state()),
        }
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            #[cfg(feature = "cloud")]
            Self::Object(file) => file.read(buffer),
        }
    }
}

impl Seek for InputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Local(file) => file.seek(to),
            #[cfg(feature = "cloud")]
            Self::Object(file) => file.seek(to),
        }
    }
}

impl Length for InputFile {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            #[cfg(feature = "cloud")]
            Self::Object(file) => file.state().bytes,
        }
    }
}

impl ChunkReader for InputFile {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(match self {
            Self::Local(file) => Box::new(file.get_read(start)?),
            #[cfg(feature = "cloud")]
            Self::Object(file) => {
                let mut reader = file.clone();
                reader.seek(SeekFrom::Start(start))?;
                Box::new(reader)
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            #[cfg(feature = "cloud")]
            Self::Object(file) => {
                let bytes = file.bytes(start, length)?;
                match bytes.len() == length {
                    true => Ok(bytes),
                    false => Err(parquet::errors::ParquetError::EOF(format!(
                        "{length} bytes from {start} on, in a file of {}",
                        file.state().bytes
                    ))),
                }
            }
        }
    }
}

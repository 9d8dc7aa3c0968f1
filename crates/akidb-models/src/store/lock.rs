//! One program at a time changes a model.

use std::fs::{File, TryLockError, create_dir_all};

use super::Store;
use crate::error::Error;
use crate::name::ModelId;

/// Held while a model is changed. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// As [`of`](Self::of), with a warning when another process changes the model.
    pub(crate) fn warning(store: &Store, id: &ModelId) -> Result<Self, Error> {
        Self::of(store, id, || {
            tracing::warn!("another process changes {id}: waiting for it");
        })
    }

    /// Waits until no other process changes the model; `waiting` is told when there is one.
    pub(crate) fn of(store: &Store, id: &ModelId, waiting: impl FnOnce()) -> Result<Self, Error> {
        // Never deleted: whoever waits for a deleted file would wait for another one than the next.
        let directory = store.models()?.join(".locks");
        create_dir_all(&directory).map_err(Error::write(&directory))?;
        let path = directory.join(id.flat());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(Error::write(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(Error::write(&path))?;
            }
            Err(TryLockError::Error(e)) => return Err(Error::write(&path)(e)),
        }
        Ok(Self { _file: file })
    }
}

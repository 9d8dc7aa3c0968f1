//! Which model is meant where none is named.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use akidb_onnx::open_regular_file;

use super::Store;
use crate::error::Error;

/// In the store's home: the default model's id.
const DEFAULT: &str = "default-model";

/// Longest id that is read, in bytes.
const MAX_BYTES: u64 = 4096;

impl Store {
    /// The id of the model that is meant where none is named, if one was set.
    ///
    /// # Errors
    /// When what was set can't be read.
    pub fn default_model(&self) -> Result<Option<String>, Error> {
        let Ok(path) = self.default_path() else {
            return Ok(None);
        };
        let mut id = String::new();
        let read =
            open_regular_file(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut id));
        match read {
            Ok(_) => Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty())),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::read(&path)(error)),
        }
    }

    /// Sets the model that is meant where none is named, or that there is none.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn set_default_model(&self, id: Option<&str>) -> Result<(), Error> {
        let path = self.default_path()?;
        let Some(id) = id else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(Error::write(&path)(error))
                }
                _ => Ok(()),
            };
        };
        if let Some(home) = path.parent() {
            fs::create_dir_all(home).map_err(Error::write(home))?;
        }
        // Whole or not at all.
        let new = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = fs::write(&new, format!("{id}\n")).and_then(|()| fs::rename(&new, &path));
        written.map_err(Error::write(&path))
    }

    fn default_path(&self) -> Result<PathBuf, Error> {
        let home = self.home.as_ref().ok_or(Error::NoHome)?;
        Ok(home.join(DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_set_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("new");
        let store = Store::open(Some(home.clone()), None).unwrap();
        assert_eq!(store.default_model().unwrap(), None);
        store.set_default_model(None).unwrap();
        for id in ["me/one", "two"] {
            store.set_default_model(Some(id)).unwrap();
            assert_eq!(store.default_model().unwrap().as_deref(), Some(id));
        }
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
        store.set_default_model(None).unwrap();
        assert_eq!(store.default_model().unwrap(), None);

        let nowhere = Store::open(None, None).unwrap();
        assert_eq!(nowhere.default_model().unwrap(), None);
        assert!(matches!(
            nowhere.set_default_model(Some("a")),
            Err(Error::NoHome)
        ));
    }
}

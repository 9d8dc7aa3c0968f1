//! A folder of units in an object store.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use object_store::{ObjectStoreExt, PutMode, PutPayload, WriteMultipart};

use super::Location;
use super::claims::ObjectClaims;
use crate::corpus::claims::{Claims, lock};
use crate::corpus::process::Process;
use crate::corpus::storage::{Draft, LOGS, Lines, Storage};

/// Longer files are put in parts, without a condition: a unit that two processes have made is the same.
const MOST_AT_ONCE: u64 = 64 << 20;

/// Bytes of a part.
const PART_BYTES: usize = 16 << 20;

/// Parts that are on their way at once.
const PARTS: usize = 2;

/// How often a log is put: objects can't be added to.
const LOG_EVERY: Duration = Duration::from_secs(10);

pub(in crate::corpus) struct ObjectStorage {
    folder: Location,
}

impl ObjectStorage {
    pub(in crate::corpus) fn new(url: &str) -> io::Result<Self> {
        let folder = Location::of(url)?;
        match folder.is_web() {
            true => Err(io::Error::new(
                ErrorKind::Unsupported,
                "a web server takes no files: name a folder, or one in an object store",
            )),
            false => Ok(Self { folder }),
        }
    }

    fn put_in_parts(&self, location: &Location, mut file: File) -> io::Result<()> {
        let upload = location.wait(location.store.put_multipart(&location.key))?;
        let mut upload = {
            let _entered = location.runtime.enter();
            WriteMultipart::new_with_chunk_size(upload, PART_BYTES)
        };
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = match file.read(&mut part) {
                Ok(read) => read,
                Err(error) => {
                    let _ = location.wait(upload.abort());
                    return Err(error);
                }
            };
            if read == 0 {
                return location.wait(upload.finish()).map(|_| ());
            }
            location.wait(upload.wait_for_capacity(PARTS))?;
            let _entered = location.runtime.enter();
            upload.write(part.get(..read).unwrap_or_default());
        }
    }
}

impl Storage for ObjectStorage {
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = self.folder.join(folder);
        let listed = folder.store.list_with_delimiter(Some(&folder.key));
        let listed = folder.wait(listed)?;
        let files = listed.objects.into_iter().map(|meta| meta.location);
        let keys = files.chain(listed.common_prefixes);
        Ok(keys
            .filter_map(|key| Some(key.filename()?.to_owned()))
            .collect())
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        let object = self.folder.join(name);
        match object.wait(object.store.head(&object.key)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let object = self.folder.join(name);
        let read = object.wait(async {
            let found = object.store.get(&object.key).await?;
            found.bytes().await
        });
        match read {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let object = self.folder.join(name);
        let payload = PutPayload::from(content.to_vec());
        object
            .wait(object.store.put(&object.key, payload))
            .map(|_| ())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let object = self.folder.join(name);
        match object.wait(object.store.delete(&object.key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn move_aside(&self) -> io::Result<Option<PathBuf>> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "an object store renames no folders: choose another one",
        ))
    }

    fn claims(&self, process: &Process) -> io::Result<Box<dyn Claims>> {
        Ok(Box::new(ObjectClaims::new(&self.folder, process.clone())?))
    }

    fn log(&self, name: &str) -> io::Result<Box<dyn Lines>> {
        Ok(Box::new(ObjectLog {
            object: self.folder.join(LOGS).join(name),
            content: Mutex::new((Vec::new(), Instant::now())),
        }))
    }

    fn draft(&self, name: &str) -> io::Result<Draft> {
        Ok(Draft {
            // Without a name: it is gone with the process, however that ends.
            file: tempfile::tempfile()?,
            path: std::env::temp_dir().join(name),
            named: None,
        })
    }

    fn remove_draft(&self, _: &str) {}

    fn publish(&self, draft: Draft, name: &str) -> io::Result<bool> {
        let object = self.folder.join(name);
        let mut file = draft.file;
        let bytes = file.metadata()?.len();
        file.rewind()?;
        if bytes > MOST_AT_ONCE {
            return match self.has(name)? {
                true => Ok(false),
                false => self.put_in_parts(&object, file).map(|()| true),
            };
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        match object.put(&content.into(), &PutMode::Create) {
            (Ok(_), _) => Ok(true),
            // Ours, whose answer was lost, or one that is the same.
            (Err(error), again) if error.kind() == ErrorKind::AlreadyExists => Ok(again),
            (Err(error), _) => Err(error),
        }
    }
}

/// A log that is put again as a whole.
struct ObjectLog {
    object: Location,
    /// What it says, and when it was put.
    content: Mutex<(Vec<u8>, Instant)>,
}

impl ObjectLog {
    fn put(&self, content: &[u8]) -> io::Result<()> {
        let payload = PutPayload::from(content.to_vec());
        let put = self.object.store.put(&self.object.key, payload);
        self.object.wait(put).map(|_| ())
    }
}

impl Lines for ObjectLog {
    fn add(&self, line: &[u8], now: bool) -> io::Result<()> {
        let mut content = lock(&self.content);
        content.0.extend_from_slice(line);
        if now || content.1.elapsed() >= LOG_EVERY {
            self.put(&content.0)?;
            content.1 = Instant::now();
        }
        Ok(())
    }
}

impl Drop for ObjectLog {
    fn drop(&mut self) {
        let content = lock(&self.content);
        let _ = self.put(&content.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_published_stays_whatever_its_length() {
        let storage = ObjectStorage {
            folder: Location::in_memory(),
        };
        for (name, length) in [("a", 0), ("b", 1000), ("c", MOST_AT_ONCE as usize + 1000)] {
            let content: Vec<u8> = (0..length).map(|place| (place / 100) as u8).collect();
            for (content, is_first) in [(&*content, true), (b"other", false)] {
                let mut draft = storage.draft(name).unwrap();
                draft.file.write_all(content).unwrap();
                assert_eq!(storage.publish(draft, name).unwrap(), is_first, "{name}");
            }
            assert_eq!(storage.read(name).unwrap(), Some(content), "{name}");
        }
        assert_eq!(storage.list("").unwrap(), ["a", "b", "c"]);
        storage.remove("b").unwrap();
        storage.remove("b").unwrap();
        assert!(!storage.has("b").unwrap());
    }

    #[test]
    fn a_log_is_there_when_it_is_looked_for() {
        let storage = ObjectStorage {
            folder: Location::in_memory(),
        };
        let log = storage.log("x.jsonl").unwrap();
        log.add(b"first\n", true).unwrap();
        log.add(b"second\n", false).unwrap();
        let read = || storage.read("_run/log/x.jsonl").unwrap().unwrap();
        assert_eq!(read(), b"first\n");
        drop(log);
        assert_eq!(read(), b"first\nsecond\n");
    }
}

//! Which model it is, by the bytes of its files.

use std::io::{ErrorKind, Read};
use std::path::Path;

use akidb_onnx::open_regular_file;
use twox_hash::XxHash3_128;

use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::model::WeightsSource;

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// The names of files that say nothing of vectors.
const BESIDE: [&str; 3] = ["LICENSE", "NOTICE", "README"];

impl Embedder {
    /// A checksum of the model's files (XXH3, 128 bits, as hexadecimal digits): of its weights, its
    /// configuration and its tokenizer, wherever they are.
    ///
    /// ```
    /// let embedder = akidb_embedding::Embedder::builder().model("akidb-mini").build()?;
    /// assert_eq!(embedder.checksum()?.len(), 32);
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn checksum(&self) -> Result<String, EmbedError> {
        let mut hasher = XxHash3_128::new();
        let mut names = self.files.companions()?;
        names.retain(|name| !BESIDE.iter().any(|beside| name.starts_with(beside)));
        names.sort();
        for name in names {
            let bytes = self.files.read(&name)?.unwrap_or_default();
            hasher.write(name.as_bytes());
            hasher.write(&(bytes.len() as u64).to_le_bytes());
            hasher.write(&bytes);
        }
        let weights = self.files.weights(Some(&self.variant))?;
        if let WeightsSource::OnnxBytes(bytes) = weights.source {
            hasher.write(bytes);
        }
        for file in &weights.files {
            add_file(&mut hasher, file)?;
        }
        Ok(format!("{:032x}", hasher.finish_128()))
    }
}

/// A file that isn't there, though a graph names it, has told of itself when the model was loaded.
fn add_file(hasher: &mut XxHash3_128, path: &Path) -> Result<(), EmbedError> {
    let failed = |source| EmbedError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = match open_regular_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            read => hasher.write(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_of_any_file_is_another_model_and_its_place_is_not() {
        let from = akidb_testing::fixture("tiny-external");
        let dir = tempfile::tempdir().unwrap();
        let copy = |to: &Path| {
            std::fs::create_dir_all(to.join("onnx")).unwrap();
            for at in ["", "onnx"] {
                for entry in std::fs::read_dir(from.join(at)).unwrap().flatten() {
                    if entry.path().is_file() {
                        let name = to.join(at).join(entry.file_name());
                        std::fs::copy(entry.path(), name).unwrap();
                    }
                }
            }
        };
        let checksum = |at: &Path| {
            let builder = Embedder::builder().model(at.to_string_lossy());
            builder.build().unwrap().checksum().unwrap()
        };
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        copy(&a);
        copy(&b);
        assert_eq!(checksum(&a), checksum(&b));
        let config = b.join("config.json");
        let mut text = std::fs::read(&config).unwrap();
        text.push(b'\n');
        std::fs::write(&config, text).unwrap();
        assert_ne!(checksum(&a), checksum(&b));
    }
}

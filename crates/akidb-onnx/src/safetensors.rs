//! Reads safetensors files: one, or several with an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, ErrorKind, shorten};
use crate::external::resolve_in;
use crate::json::parse_json;
use crate::mmap::{map_file, read_small};
use crate::tensor::{DataType, Tensor};

/// Name of the only file of a model.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Name of the list of files of a model in several.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Longest header or index that is read, in bytes. The header of a 36-layer model has 60 kB.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// One mapped file, its header read and checked.
pub struct SafetensorsFile {
    header: Metadata,
    data: Bytes,
}

impl SafetensorsFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// When it can't be read, or its header is broken or doesn't fit its length.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::parse(&map_file(path)?).map_err(|e| e.at(path))
    }

    fn parse(file: &Bytes) -> Result<Self, Error> {
        let bad = |why: &str| Error::from(ErrorKind::Safetensors(why.to_owned()));
        let (len, rest) = file
            .split_first_chunk()
            .ok_or_else(|| bad("it is cut off"))?;
        let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
        if len > MAX_HEADER_BYTES {
            return Err(bad("its header is too long"));
        }
        let header = rest.get(..len).ok_or_else(|| bad("it is cut off"))?;
        // A copy: text is checked once and must not change afterwards, as a mapped file could.
        let header = header.to_vec();
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|e| bad(&shorten(&e.to_string())))?;
        let data = file.slice(8 + len..);
        if header.data_len() != data.len() {
            return Err(bad(&format!(
                "its header speaks of {} bytes of data, there are {}",
                header.data_len(),
                data.len()
            )));
        }
        Ok(Self { header, data })
    }

    /// Names, types and shapes.
    pub fn infos(&self) -> HashMap<String, &TensorInfo> {
        self.header.tensors()
    }

    /// The tensor of this name, if there is one.
    ///
    /// # Errors
    /// When it is no float, or lies past the end of the file.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(info) = self.header.info(name) else {
            return Ok(None);
        };
        let dtype = match info.dtype {
            Dtype::F32 => DataType::F32,
            Dtype::F16 => DataType::F16,
            Dtype::BF16 => DataType::BF16,
            other => {
                let why = format!("type {other:?} where a float is needed");
                return Err(Error::tensor(name, why));
            }
        };
        let (start, end) = info.data_offsets;
        if start > end || end > self.data.len() {
            return Err(Error::tensor(name, "lies past the end of the file"));
        }
        Tensor::new(name, dtype, info.shape.clone(), self.data.slice(start..end)).map(Some)
    }
}

/// The tensors of one or several files.
pub struct SafetensorsModel {
    files: Vec<SafetensorsFile>,
}

#[derive(Deserialize)]
struct Index {
    /// Tensor to file.
    #[serde(deserialize_with = "each_once")]
    weight_map: HashMap<String, String>,
}

/// A map whose keys come once each: of a tensor that is named twice, nobody knows which one is meant.
fn each_once<'de, D: Deserializer<'de>>(map: D) -> Result<HashMap<String, String>, D::Error> {
    struct EachOnce;
    impl<'de> Visitor<'de> for EachOnce {
        type Value = HashMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of tensors to files")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = HashMap::new();
            while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                let name = shorten(&tensor);
                if all.insert(tensor, file).is_some() {
                    return Err(A::Error::custom(format!("tensor {name:?} is named twice")));
                }
            }
            Ok(all)
        }
    }
    map.deserialize_map(EachOnce)
}

impl SafetensorsModel {
    /// Opens a file, [`INDEX_FILE`] and the files that it names, or the directory that holds either.
    ///
    /// # Errors
    /// When a file can't be read, is broken, or lies outside the directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            Self::in_directory(path)
        } else if path.ends_with(INDEX_FILE) {
            Self::of_index(path)
        } else {
            Self::of_file(path)
        }
    }

    fn of_file(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            files: vec![SafetensorsFile::open(path)?],
        })
    }

    fn in_directory(dir: &Path) -> Result<Self, Error> {
        let index = dir.join(INDEX_FILE);
        let single = dir.join(SINGLE_FILE);
        if single.exists() || !index.exists() {
            return Self::of_file(&single);
        }
        Self::of_index(&index)
    }

    fn of_index(index: &Path) -> Result<Self, Error> {
        let weight_map = read_index(index)?;
        let paths = paths(index, &weight_map)?;
        let files = paths.values().map(|path| SafetensorsFile::open(path));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let bad = |why: String| Error::from(ErrorKind::Safetensors(why)).at(index);
        let mut holders: HashMap<String, &String> = HashMap::new();
        for (name, file) in paths.keys().zip(&files) {
            for tensor in file.infos().into_keys() {
                let short = shorten(&tensor);
                if let Some(other) = holders.insert(tensor, name) {
                    let why = format!("tensor {short:?} is in both {other:?} and {name:?}");
                    return Err(bad(why));
                }
            }
        }
        for (tensor, name) in &weight_map {
            if holders.get(tensor) != Some(&name) {
                let (tensor, name) = (shorten(tensor), shorten(name));
                return Err(bad(format!("tensor {tensor:?} is not in file {name:?}")));
            }
        }
        Ok(Self { files })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|f| f.header.info(name).is_some())
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// When there is none, or it is no float.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        for file in &self.files {
            if let Some(tensor) = file.tensor(name)? {
                return Ok(tensor);
            }
        }
        Err(Error::tensor(name, "is missing"))
    }
}

/// The files that an index names, each once, in the index's directory.
///
/// # Errors
/// When the index is broken, or a file is missing or lies elsewhere.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = paths(index, &read_index(index)?)?;
    Ok(paths.into_values().collect())
}

/// Tensor to file.
fn read_index(index: &Path) -> Result<HashMap<String, String>, Error> {
    let json = read_small(index, MAX_HEADER_BYTES)?;
    let parsed = parse_json(&json).map_err(|e| Error::from(ErrorKind::Json(e)).at(index));
    parsed.map(|index: Index| index.weight_map)
}

/// The files that tensors are in, by their names.
fn paths(
    index: &Path,
    weight_map: &HashMap<String, String>,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let names: BTreeSet<&String> = weight_map.values().collect();
    let dir = index.parent().unwrap_or(Path::new(""));
    let dir = dir
        .canonicalize()
        .map_err(|e| Error::from(ErrorKind::Io(e)).at(index))?;
    let paths = names.into_iter().map(|name| {
        let path = resolve_in(&dir, name).map_err(|refusal| {
            let why = format!("file {:?}: {}", shorten(name), refusal.why);
            Error::from(ErrorKind::Safetensors(why)).at(index)
        });
        Ok((name.clone(), path?))
    });
    paths.collect()
}

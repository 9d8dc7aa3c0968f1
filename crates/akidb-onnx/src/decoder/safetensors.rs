//! A decoder from the safetensors files of its PyTorch model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use super::{Decoder, DecoderConfig, DecoderLayer, EmbeddingTable, Linear, LinearWeight, shapes};
use crate::error::{Error, ErrorKind, shorten};
use crate::external::resolve_in;
use crate::mmap::{map_file, read_small};
use crate::tensor::{DataType, Tensor};

/// Name of the only file of a model.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// Name of the list of files of a model in several.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Longest header or index that is read, in bytes. The header of a 36-layer model has 60 kB.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// Reads a decoder from a safetensors file, from `model.safetensors.index.json` and the files that it
/// names, or from a directory that holds either. Weights stay in the mapped files.
///
/// Tensors are named as transformers names them, with or without `model.` before; those that a
/// decoder doesn't have, such as `lm_head.weight`, are ignored.
///
/// # Errors
/// When a file can't be read or is broken, lies outside the directory, a tensor is missing, isn't
/// f32, f16 or bf16, or has another shape than `config` asks for.
pub fn decoder_from_safetensors(path: &Path, config: &DecoderConfig) -> Result<Decoder, Error> {
    config.check().map_err(|e| e.at(path))?;
    let tensors = if path.is_dir() {
        Tensors::in_directory(path)?
    } else if path.ends_with(INDEX_FILE) {
        Tensors::of_index(path)?
    } else {
        Tensors::of_file(path)?
    };
    tensors.decoder(config).map_err(|e| e.at(path))
}

/// One mapped file, its header read and checked.
pub(crate) struct SafetensorsFile {
    header: Metadata,
    data: Bytes,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
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
    pub(crate) fn infos(&self) -> HashMap<String, &TensorInfo> {
        self.header.tensors()
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>, Error> {
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
struct Tensors {
    files: Vec<SafetensorsFile>,
}

#[derive(Deserialize)]
struct Index {
    /// Tensor to file.
    weight_map: HashMap<String, String>,
}

impl Tensors {
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
        let files = shards(index)?
            .iter()
            .map(|path| SafetensorsFile::open(path))
            .collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    fn get(&self, name: &str) -> Result<Tensor, Error> {
        for file in &self.files {
            if let Some(tensor) = file.tensor(name)? {
                return Ok(tensor);
            }
        }
        Err(Error::tensor(name, "is missing"))
    }

    fn decoder(&self, config: &DecoderConfig) -> Result<Decoder, Error> {
        let has = |name: &str| self.files.iter().any(|f| f.header.info(name).is_some());
        // The files of a bare `Qwen3Model` have no prefix.
        let prefix = if has("model.embed_tokens.weight") {
            "model."
        } else {
            ""
        };
        let get = |name: &str| self.get(&format!("{prefix}{name}.weight"));
        let layers = (0..config.num_hidden_layers).map(|i| {
            let get = |name: &str| get(&format!("layers.{i}.{name}"));
            let linear = |name: &str| Linear::new(LinearWeight::OutIn(get(name)?));
            Ok(DecoderLayer {
                input_layernorm: get("input_layernorm")?,
                q_proj: linear("self_attn.q_proj")?,
                k_proj: linear("self_attn.k_proj")?,
                v_proj: linear("self_attn.v_proj")?,
                q_norm: get("self_attn.q_norm")?,
                k_norm: get("self_attn.k_norm")?,
                o_proj: linear("self_attn.o_proj")?,
                post_attention_layernorm: get("post_attention_layernorm")?,
                gate_proj: linear("mlp.gate_proj")?,
                up_proj: linear("mlp.up_proj")?,
                down_proj: linear("mlp.down_proj")?,
            })
        });
        let decoder = Decoder {
            config: config.clone(),
            embed_tokens: EmbeddingTable::new(get("embed_tokens")?)?,
            layers: layers.collect::<Result<_, Error>>()?,
            norm: get("norm")?,
        };
        // A model with more layers than config.json says would answer, wrongly.
        let count = config.num_hidden_layers;
        let next = format!("{prefix}layers.{count}.input_layernorm.weight");
        if has(&next) {
            let why = format!("is there, but num_hidden_layers is {count}");
            return Err(Error::tensor(&next, why));
        }
        shapes::check(&decoder)?;
        Ok(decoder)
    }
}

/// The files that an index names, each once, in the index's directory.
pub(crate) fn shards(index: &Path) -> Result<Vec<PathBuf>, Error> {
    let json = read_small(index, MAX_HEADER_BYTES)?;
    let parsed: Index =
        serde_json::from_slice(&json).map_err(|e| Error::from(ErrorKind::Json(e)).at(index))?;
    let mut names: Vec<String> = parsed.weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    let dir = index.parent().unwrap_or(Path::new(""));
    let dir = dir
        .canonicalize()
        .map_err(|e| Error::from(ErrorKind::Io(e)).at(index))?;
    names
        .iter()
        .map(|name| {
            resolve_in(&dir, name).map_err(|refusal| {
                let why = format!("file {:?}: {}", shorten(name), refusal.why);
                Error::from(ErrorKind::Safetensors(why)).at(index)
            })
        })
        .collect()
}

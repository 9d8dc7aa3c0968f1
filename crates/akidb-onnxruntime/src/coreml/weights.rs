//! The weights of the linear layers and the embedding table, in files of their own.

use std::io::{self, Write};

use half::f16;

use super::precision::Precision;
use akidb_onnx::proto::tensor_proto::{DataLocation, DataType};
use akidb_onnx::proto::{StringStringEntryProto, TensorProto};
use akidb_onnx::{Error, ErrorKind};
use akidb_transformer::{DecoderBlock, EmbeddingTable, Linear};

/// Weights begin at multiples of a page, so that ONNX Runtime can map them.
const ALIGNMENT: u64 = 4096;

/// Where the linear layers of one decoder layer are stored, each `[in_features, out_features]`.
#[derive(Debug)]
pub(super) struct StoredLayer {
    pub(super) q_proj: TensorProto,
    pub(super) k_proj: TensorProto,
    pub(super) v_proj: TensorProto,
    pub(super) o_proj: TensorProto,
    pub(super) gate_proj: TensorProto,
    pub(super) up_proj: TensorProto,
    pub(super) down_proj: TensorProto,
}

impl StoredLayer {
    pub(super) fn dtype(&self) -> DataType {
        self.q_proj.data_type()
    }
}

/// Writes all linear layers of `blocks` to `file`, which will be called `location`.
pub(super) fn write_linear(
    blocks: &[DecoderBlock<'_>],
    precision: Precision,
    location: &str,
    file: &mut impl Write,
) -> Result<Vec<StoredLayer>, Error> {
    let mut weights = WeightsFile {
        precision,
        location,
        file,
        position: 0,
    };
    let blocks = blocks.iter().enumerate();
    blocks.map(|(i, block)| weights.block(i, block)).collect()
}

struct WeightsFile<'a, W> {
    precision: Precision,
    location: &'a str,
    file: &'a mut W,
    position: u64,
}

impl<W: Write> WeightsFile<'_, W> {
    fn block(&mut self, i: usize, block: &DecoderBlock<'_>) -> Result<StoredLayer, Error> {
        let name = |linear| format!("layers.{i}.{linear}.weight");
        Ok(StoredLayer {
            q_proj: self.linear(name("q_proj"), block.q_proj)?,
            k_proj: self.linear(name("k_proj"), block.k_proj)?,
            v_proj: self.linear(name("v_proj"), block.v_proj)?,
            o_proj: self.linear(name("o_proj"), block.o_proj)?,
            gate_proj: self.linear(name("gate_proj"), block.gate_proj)?,
            up_proj: self.linear(name("up_proj"), block.up_proj)?,
            down_proj: self.linear(name("down_proj"), block.down_proj)?,
        })
    }

    fn linear(&mut self, name: String, linear: &Linear) -> Result<TensorProto, Error> {
        let padding = self.position.next_multiple_of(ALIGNMENT) - self.position;
        io::copy(&mut io::Read::take(io::repeat(0), padding), self.file)
            .map_err(ErrorKind::Write)?;
        let offset = self.position + padding;
        let bytes = transposed(&name, linear, self.precision)?;
        self.file.write_all(&bytes).map_err(ErrorKind::Write)?;
        let length = bytes.len() as u64;
        self.position = offset + length;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        let dims = [linear.in_features(), linear.out_features()];
        Ok(TensorProto {
            name: Some(name),
            data_type: Some(self.precision.onnx() as i32),
            dims: dims.map(|d| d as i64).to_vec(),
            data_location: Some(DataLocation::External as i32),
            external_data: vec![
                entry("location", self.location.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", length.to_string()),
            ],
            ..Default::default()
        })
    }
}

/// The bytes of the weight, `[in_features, out_features]`.
fn transposed(name: &str, linear: &Linear, precision: Precision) -> Result<Vec<u8>, Error> {
    /// Outputs that are read at once.
    const BLOCK: usize = 64;
    let (inputs, outputs) = (linear.in_features(), linear.out_features());
    let size = precision.size();
    let mut bytes = vec![0; inputs * outputs * size];
    let mut block = vec![0.0; BLOCK.min(outputs) * inputs];
    for first in (0..outputs).step_by(BLOCK) {
        let count = BLOCK.min(outputs - first);
        let rows = &mut block[..count * inputs];
        linear.dequantize(first, rows)?;
        for (output, row) in (first..).zip(rows.chunks_exact(inputs)) {
            for (input, &value) in row.iter().enumerate() {
                let at = (input * outputs + output) * size;
                put(name, precision, value, &mut bytes[at..at + size])?;
            }
        }
    }
    Ok(bytes)
}

/// Writes `table` to `file` as safetensors with one tensor called `name`.
pub(super) fn write_embed_tokens(
    table: &EmbeddingTable,
    precision: Precision,
    name: &str,
    file: &mut impl Write,
) -> Result<(), Error> {
    let (rows, width) = (table.vocab_size(), table.hidden_size());
    let len = rows * width * precision.size();
    let header = serde_json::json!({
        name: {"dtype": precision.safetensors(), "shape": [rows, width], "data_offsets": [0, len]}
    });
    let mut header = header.to_string();
    // Values begin at a multiple of 8.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(header.as_bytes()))
        .map_err(ErrorKind::Write)?;
    let mut row = vec![0.0; width];
    let mut bytes = vec![0; width * precision.size()];
    for id in 0..rows {
        table.read_row(id, &mut row)?;
        for (&value, bytes) in row.iter().zip(bytes.chunks_exact_mut(precision.size())) {
            put(name, precision, value, bytes)?;
        }
        file.write_all(&bytes).map_err(ErrorKind::Write)?;
    }
    Ok(())
}

fn put(name: &str, precision: Precision, value: f32, bytes: &mut [u8]) -> Result<(), Error> {
    let finite = match precision {
        Precision::F32 => {
            bytes.copy_from_slice(&value.to_le_bytes());
            value.is_finite()
        }
        Precision::F16 => {
            let value = f16::from_f32(value);
            bytes.copy_from_slice(&value.to_le_bytes());
            value.is_finite()
        }
    };
    if finite {
        return Ok(());
    }
    let why = format!("{value} can't be {precision}");
    Err(Error::tensor(name, why))
}

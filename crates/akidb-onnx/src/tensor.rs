//! Constant tensors, as they lie in a mapped file.

use bytes::Bytes;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use crate::error::Error;
use crate::proto::tensor_proto::DataType as ProtoDataType;

/// Element type of a [`Tensor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataType {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 8-bit.
    I8,
    /// Unsigned 8-bit.
    U8,
    /// Signed 4-bit, two to a byte, the first in the low half.
    I4,
    /// Unsigned 4-bit, packed as [`Self::I4`].
    U4,
    /// Signed 32-bit.
    I32,
    /// Signed 64-bit.
    I64,
}

impl DataType {
    /// Size of an element in bytes; of 4-bit types, of the two elements that share a byte.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::I4 | Self::U4 => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// True for f32, f16 and bf16.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    fn is_4_bit(self) -> bool {
        matches!(self, Self::I4 | Self::U4)
    }

    /// `f32`, `f16`, `bf16`, `i8`, `u8`, `i4`, `u4`, `i32` or `i64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I4 => "i4",
            Self::U4 => "u4",
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    /// The type with ONNX's number `code`, if a [`Tensor`] can hold it.
    pub fn from_onnx(code: i32) -> Option<Self> {
        Some(match ProtoDataType::try_from(code).ok()? {
            ProtoDataType::Float => Self::F32,
            ProtoDataType::Float16 => Self::F16,
            ProtoDataType::Bfloat16 => Self::BF16,
            ProtoDataType::Int8 => Self::I8,
            ProtoDataType::Uint8 => Self::U8,
            ProtoDataType::Int4 => Self::I4,
            ProtoDataType::Uint4 => Self::U4,
            ProtoDataType::Int32 => Self::I32,
            ProtoDataType::Int64 => Self::I64,
            _ => return None,
        })
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A named constant whose length is known to fit its shape. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Tensor {
    name: String,
    dtype: DataType,
    dims: Vec<usize>,
    /// Little-endian, row-major, possibly unaligned.
    data: Bytes,
}

impl Tensor {
    /// A tensor over `data`, which is little-endian and row-major, at any alignment.
    ///
    /// # Errors
    /// When the length of `data` isn't that of the shape.
    ///
    /// ```
    /// use akidb_onnx::tensor::{DataType, Tensor};
    /// let data = bytes::Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64]);
    /// let tensor = Tensor::new("w", DataType::F32, vec![2, 1], data)?;
    /// assert_eq!(tensor.to_f32_vec()?, [1.0, 2.0]);
    /// # Ok::<(), akidb_onnx::Error>(())
    /// ```
    pub fn new(
        name: impl Into<String>,
        dtype: DataType,
        dims: Vec<usize>,
        data: Bytes,
    ) -> Result<Self, Error> {
        let name = name.into();
        let len = byte_len(&name, dtype, &dims)?;
        if data.len() != len {
            let why = format!(
                "shape {dims:?} of {dtype} needs {len} bytes, there are {}",
                data.len()
            );
            return Err(Error::tensor(&name, why));
        }
        Ok(Self {
            name,
            dtype,
            dims,
            data,
        })
    }

    /// Name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// Shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The bytes, little-endian and row-major, at any alignment.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        // Known not to overflow: the shape fits the data.
        self.dims.iter().product()
    }

    /// True when an axis is zero long.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Copies `out.len()` elements, from element `start` on, as f32.
    ///
    /// # Errors
    /// When the tensor is not f32, f16 or bf16, or has fewer elements.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) -> Result<(), Error> {
        let range = start.checked_add(out.len()).and_then(|end| {
            let size = self.dtype.size();
            Some(start.checked_mul(size)?..end.checked_mul(size)?)
        });
        let Some(bytes) = range.and_then(|range| self.data.get(range)) else {
            let why = format!(
                "elements {start} and {} more were asked for, there are {}",
                out.len(),
                self.len()
            );
            return Err(Error::tensor(&self.name, why));
        };
        match self.dtype {
            DataType::F32 => {
                for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = f32::from_le_bytes(bytes);
                }
            }
            DataType::F16 => f16_to_f32(bytes, out),
            DataType::BF16 => {
                for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
                }
            }
            DataType::I8
            | DataType::U8
            | DataType::I4
            | DataType::U4
            | DataType::I32
            | DataType::I64 => {
                return Err(Error::tensor(
                    &self.name,
                    format!("{} where a float is needed", self.dtype),
                ));
            }
        }
        Ok(())
    }

    /// All elements as f32.
    ///
    /// # Errors
    /// When the tensor is not f32, f16 or bf16.
    pub fn to_f32_vec(&self) -> Result<Vec<f32>, Error> {
        let mut out = vec![0.0; self.len()];
        self.read_f32(0, &mut out)?;
        Ok(out)
    }

    /// All elements of an i64 or i32 tensor.
    ///
    /// # Errors
    /// When the tensor is of another type.
    pub fn to_i64_vec(&self) -> Result<Vec<i64>, Error> {
        match self.dtype {
            DataType::I64 => Ok(elements(&self.data, i64::from_le_bytes)),
            DataType::I32 => Ok(elements(&self.data, |b| i32::from_le_bytes(b).into())),
            other => Err(Error::tensor(
                &self.name,
                format!("{other} where an integer is needed"),
            )),
        }
    }
}

/// Number of bytes of a shape.
pub(crate) fn byte_len(name: &str, dtype: DataType, dims: &[usize]) -> Result<usize, Error> {
    let len = dims
        .iter()
        .try_fold(dtype.size(), |len, &dim| len.checked_mul(dim));
    len.map(|len| {
        if dtype.is_4_bit() {
            len.div_ceil(2)
        } else {
            len
        }
    })
    .ok_or_else(|| Error::tensor(name, format!("shape {dims:?} of {dtype} is too large")))
}

fn elements<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|&b| read(b)).collect()
}

fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    // Through an aligned block, for the hardware conversion of whole slices.
    const BLOCK: usize = 512;
    let mut bits = [0u16; BLOCK];
    for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
        let bits = &mut bits[..out.len()];
        for (bits, &bytes) in bits.iter_mut().zip(bytes.as_chunks().0) {
            *bits = u16::from_le_bytes(bytes);
        }
        bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn tensor(dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
        Tensor::new("t", dtype, dims.to_vec(), data.into()).unwrap()
    }

    #[test]
    fn length_must_be_that_of_the_shape() {
        let error = Tensor::new("t", DataType::F32, vec![2, 3], vec![0; 23].into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor \"t\": shape [2, 3] of f32 needs 24 bytes, there are 23"
        );
        Tensor::new("t", DataType::F32, vec![], vec![0; 4].into()).unwrap();
        Tensor::new("t", DataType::F32, vec![usize::MAX, 0], vec![].into()).unwrap_err();
        Tensor::new("t", DataType::I64, vec![1 << 31, 1 << 31], vec![].into()).unwrap_err();
    }

    #[test]
    fn every_float_type_reads_as_f32_at_any_alignment_and_start() {
        let values: Vec<f32> = (0..1500u16).map(|i| f32::from(i) * 0.25 - 100.0).collect();
        for (dtype, bytes) in [
            (
                DataType::F32,
                values
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<_>>(),
            ),
            (
                DataType::F16,
                values
                    .iter()
                    .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                    .collect(),
            ),
            (
                DataType::BF16,
                values
                    .iter()
                    .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                    .collect(),
            ),
        ] {
            let mut shifted = vec![0];
            shifted.extend(&bytes);
            let data = Bytes::from(shifted).slice(1..);
            let tensor = Tensor::new("t", dtype, vec![1500], data).unwrap();
            let want: Vec<f32> = match dtype {
                DataType::BF16 => values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect(),
                _ => values.clone(),
            };
            assert_eq!(tensor.to_f32_vec().unwrap(), want);
            for (start, len) in [(0, 0), (1, 511), (3, 513), (1499, 1), (1500, 0)] {
                let mut out = vec![0.0; len];
                tensor.read_f32(start, &mut out).unwrap();
                assert_eq!(out, want[start..start + len], "{dtype} {start} {len}");
            }
        }
    }

    #[test]
    fn f16_extremes_are_exact() {
        let bits = [0x0001u16, 0x03ff, 0x7bff, 0xfc00, 0x8000];
        let tensor = tensor(
            DataType::F16,
            &[5],
            bits.iter().flat_map(|b| b.to_le_bytes()).collect(),
        );
        let want: Vec<f32> = bits.iter().map(|&b| f16::from_bits(b).to_f32()).collect();
        assert_eq!(tensor.to_f32_vec().unwrap(), want);
    }

    #[test]
    fn reading_past_the_end_or_as_another_type_is_an_error() {
        let floats = tensor(DataType::F32, &[2], vec![0; 8]);
        floats.read_f32(1, &mut [0.0; 2]).unwrap_err();
        floats.read_f32(usize::MAX, &mut [0.0; 2]).unwrap_err();
        floats.read_f32(usize::MAX / 2, &mut [0.0; 2]).unwrap_err();
        floats.to_i64_vec().unwrap_err();
        let ints = tensor(DataType::I64, &[2], [[1u8; 8], [255; 8]].concat());
        assert_eq!(ints.to_i64_vec().unwrap(), [0x0101_0101_0101_0101, -1]);
        ints.to_f32_vec().unwrap_err();
        let ints = tensor(DataType::I32, &[1], vec![254, 255, 255, 255]);
        assert_eq!(ints.to_i64_vec().unwrap(), [-2]);
    }
}

//! Constant tensors, as they lie in a mapped file.

use bytes::Bytes;

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
    /// Signed 32-bit.
    I32,
    /// Signed 64-bit.
    I64,
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
}

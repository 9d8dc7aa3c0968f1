//! Block-quantized weights of ONNX Runtime's `com.microsoft.MatMulNBits`.

use std::iter;

use super::scales::ValueCheck;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// Lengths of blocks that ONNX Runtime has kernels for.
pub(super) const BLOCK_SIZES: [usize; 5] = [16, 32, 64, 128, 256];

/// Blocks whose scales and zero points are read together.
const BLOCKS_AT_A_TIME: usize = 64;

/// The weight of a `com.microsoft.MatMulNBits`: `(code - zero_point) * scale`, with a scale and a
/// zero point for each block of `block_size` inputs of an output. As the operator has it,
/// `block_size` need not divide the inputs, nor need their number be even: the last block of an
/// output is stored whole, and what is past its inputs is not used. Cloning shares the tensors.
#[derive(Debug, Clone)]
pub struct MatMulNBits {
    attributes: MatMulNBitsAttributes,
    /// Blocks of one output.
    blocks: usize,
    codes: Tensor,
    scales: Tensor,
    zero_points: Option<Tensor>,
}

/// Attributes of a `com.microsoft.MatMulNBits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatMulNBitsAttributes {
    /// `K`.
    pub in_features: usize,
    /// `N`.
    pub out_features: usize,
    /// Bits of a code: 4 or 8.
    pub bits: usize,
    /// Inputs that share a scale: 16, 32, 64, 128 or 256.
    pub block_size: usize,
}

impl MatMulNBits {
    /// With `blocks = ceil(in_features / block_size)`:
    /// - `codes`: u8 `[out_features, blocks, block_size * bits / 8]`, the first of two 4-bit codes
    ///   in the low half of its byte;
    /// - `scales`: floats `[out_features, blocks]` or flat; ONNX Runtime's symmetric quantizer
    ///   writes negative ones, and zeros for blocks of zeros;
    /// - `zero_points`: u8 `[out_features, ceil(blocks * bits / 8)]` or flat, packed as the codes;
    ///   or floats like `scales`, which may lie outside the codes' range, as a block's values may
    ///   all be far from 0. None is the middle of the range, 8 or 128.
    ///
    /// # Errors
    /// When attributes are impossible, types or shapes others, or scales or zero points not
    /// finite.
    pub fn new(
        attributes: MatMulNBitsAttributes,
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
    ) -> Result<Self, Error> {
        let weight = Self::unscanned(attributes, codes, scales, zero_points)?;
        let floats = |t: &&Tensor| t.dtype().is_float();
        for tensor in iter::once(&weight.scales).chain(weight.zero_points.as_ref().filter(floats)) {
            ValueCheck::Finite.check(tensor)?;
        }
        Ok(weight)
    }

    /// As [`Self::new`], for scales and float zero points that are known to be finite.
    pub(crate) fn unscanned(
        attributes: MatMulNBitsAttributes,
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
    ) -> Result<Self, Error> {
        let MatMulNBitsAttributes {
            in_features,
            out_features,
            bits,
            block_size,
        } = attributes;
        if in_features == 0 || !matches!(bits, 4 | 8) || !BLOCK_SIZES.contains(&block_size) {
            let why = format!(
                "no {in_features} codes of {bits} bits in blocks of {block_size} are known"
            );
            return Err(Error::tensor(codes.name(), why));
        }
        let blocks = in_features.div_ceil(block_size);
        let bytes = block_size * bits / 8;
        if codes.dtype() != DataType::U8 || codes.dims() != [out_features, blocks, bytes] {
            return Err(unfit(
                &codes,
                &format!("u8 of shape {:?}", [out_features, blocks, bytes]),
            ));
        }
        // `codes` has at least so many bytes: neither product overflows.
        check_floats(&scales, [out_features, blocks])?;
        if let Some(zero_points) = &zero_points {
            if zero_points.dtype() == DataType::U8 {
                let shape = [out_features, (blocks * bits).div_ceil(8)];
                if !is_shape_or_flat(zero_points, shape) {
                    return Err(unfit(zero_points, &format!("shape {shape:?}")));
                }
            } else {
                check_floats(zero_points, [out_features, blocks])?;
            }
        }
        Ok(Self {
            attributes,
            blocks,
            codes,
            scales,
            zero_points,
        })
    }

    /// Sizes.
    pub fn attributes(&self) -> MatMulNBitsAttributes {
        self.attributes
    }

    /// K.
    pub fn in_features(&self) -> usize {
        self.attributes.in_features
    }

    /// N.
    pub fn out_features(&self) -> usize {
        self.attributes.out_features
    }

    /// Blocks of one output: `ceil(in_features / block_size)`.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// u8, `[out_features, blocks, block_size * bits / 8]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// False when every zero point is the middle of the range, 8 or 128.
    pub fn has_zero_points(&self) -> bool {
        self.zero_points.is_some()
    }

    /// Copies the scales of `out.len()` blocks, from block `first` of the whole weight on; output
    /// n begins at block `n * blocks`.
    ///
    /// # Errors
    /// When there are fewer blocks.
    pub fn read_scales(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        self.scales.read_f32(first, out)
    }

    /// As [`Self::read_scales`], the zero points.
    ///
    /// # Errors
    /// When there are fewer blocks.
    pub fn read_zero_points(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let blocks = self.attributes.out_features * self.blocks;
        if first.checked_add(out.len()).is_none_or(|end| end > blocks) {
            let why = format!(
                "blocks {first} and {} more were asked for, there are {blocks}",
                out.len()
            );
            return Err(Error::tensor(self.codes.name(), why));
        }
        match &self.zero_points {
            None => out.fill((1u32 << (self.attributes.bits - 1)) as f32),
            Some(packed) if packed.dtype() == DataType::U8 => {
                let bits = self.attributes.bits;
                // Each output begins with a byte of its own.
                let bytes = (self.blocks * bits).div_ceil(8);
                for (block, value) in (first..).zip(out) {
                    let (output, bit) = (block / self.blocks, block % self.blocks * bits);
                    let byte = packed.data().get(output * bytes + bit / 8);
                    let byte = u32::from(byte.copied().unwrap_or(0));
                    *value = (byte >> (bit % 8) & ((1 << bits) - 1)) as f32;
                }
            }
            Some(floats) => floats.read_f32(first, out)?,
        }
        Ok(())
    }

    /// Writes the codes of an output, one to a byte; as many as `out` has room for.
    ///
    /// # Errors
    /// When there is no such output, or it has fewer codes.
    pub fn read_codes(&self, output: usize, out: &mut [u8]) -> Result<(), Error> {
        let MatMulNBitsAttributes {
            bits, block_size, ..
        } = self.attributes;
        let bytes = self.blocks * block_size * bits / 8;
        let start = output.saturating_mul(bytes);
        let codes = self.codes.data().get(start..start.saturating_add(bytes));
        let Some(codes) = codes.filter(|_| out.len() <= self.attributes.in_features) else {
            let why = format!("output {output} with {} codes was asked for", out.len());
            return Err(Error::tensor(self.codes.name(), why));
        };
        if bits == 8 {
            out.copy_from_slice(&codes[..out.len()]);
            return Ok(());
        }
        for (pair, &byte) in out.chunks_mut(2).zip(codes) {
            for (code, half) in pair.iter_mut().zip([byte & 0x0f, byte >> 4]) {
                *code = half;
            }
        }
        Ok(())
    }

    /// All elements of an output, of which there must be as many.
    pub(super) fn read_output(&self, output: usize, out: &mut [f32]) -> Result<(), Error> {
        let MatMulNBitsAttributes {
            bits, block_size, ..
        } = self.attributes;
        let bytes = block_size * bits / 8;
        let mut scales = [0.0; BLOCKS_AT_A_TIME];
        let mut zero_points = [0.0; BLOCKS_AT_A_TIME];
        let mut first = output * self.blocks;
        for out in out.chunks_mut(BLOCKS_AT_A_TIME * block_size) {
            let count = out.len().div_ceil(block_size);
            let (scales, zero_points) = (&mut scales[..count], &mut zero_points[..count]);
            self.read_scales(first, scales)?;
            self.read_zero_points(first, zero_points)?;
            let codes = self.codes.data().get(first * bytes..).unwrap_or(&[]);
            let blocks = out.chunks_mut(block_size).zip(codes.chunks_exact(bytes));
            for ((out, codes), (scale, zero_point)) in blocks.zip(scales.iter().zip(zero_points)) {
                read_block(codes, bits, out);
                for value in out {
                    *value = (*value - *zero_point) * scale;
                }
            }
            first += count;
        }
        Ok(())
    }
}

/// The first codes of a block, as numbers.
fn read_block(codes: &[u8], bits: usize, out: &mut [f32]) {
    if bits == 8 {
        for (value, &code) in out.iter_mut().zip(codes) {
            *value = f32::from(code);
        }
        return;
    }
    for (pair, &byte) in out.chunks_mut(2).zip(codes) {
        for (value, code) in pair.iter_mut().zip([byte & 0x0f, byte >> 4]) {
            *value = f32::from(code);
        }
    }
}

fn is_shape_or_flat(tensor: &Tensor, shape: [usize; 2]) -> bool {
    tensor.dims() == shape || tensor.dims() == [shape[0] * shape[1]]
}

fn check_floats(tensor: &Tensor, shape: [usize; 2]) -> Result<(), Error> {
    if !(tensor.dtype().is_float() && is_shape_or_flat(tensor, shape)) {
        return Err(unfit(tensor, &format!("floats of shape {shape:?}")));
    }
    Ok(())
}

pub(super) fn unfit(tensor: &Tensor, needed: &str) -> Error {
    let (dtype, dims) = (tensor.dtype(), tensor.dims());
    Error::tensor(
        tensor.name(),
        format!("{dtype} of shape {dims:?}, the node's attributes need {needed}"),
    )
}

#[cfg(test)]
#[path = "matmul_nbits_tests.rs"]
mod tests;

//! Weights in bitsandbytes' 4-bit types, of ONNX Runtime's `com.microsoft.MatMulBnb4`.

use super::matmul_nbits::{BLOCK_SIZES, unfit};
use super::scales::ValueCheck;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// The weight of a `com.microsoft.MatMulBnb4`: `table[code] * absmax`, with an absmax for each
/// block of elements of the flat weight. A block may reach from one output into the next, and so
/// may a byte, when the number of inputs is odd. Cloning shares the tensors.
#[derive(Debug, Clone)]
pub struct MatMulBnb4 {
    attributes: MatMulBnb4Attributes,
    codes: Tensor,
    absmax: Tensor,
}

/// Attributes of a `com.microsoft.MatMulBnb4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatMulBnb4Attributes {
    /// `K`.
    pub in_features: usize,
    /// `N`.
    pub out_features: usize,
    /// Elements that share an absmax: 16, 32, 64, 128 or 256.
    pub block_size: usize,
    /// What the codes stand for.
    pub quant_type: Bnb4QuantType,
}

/// A 4-bit type of bitsandbytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bnb4QuantType {
    /// A sign, two bits of exponent and one of mantissa.
    Fp4,
    /// Quantiles of a normal distribution (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).
    Nf4,
}

impl Bnb4QuantType {
    /// The values of the 16 codes, between -1 and 1.
    pub fn table(self) -> &'static [f32; 16] {
        match self {
            Self::Fp4 => &FP4,
            Self::Nf4 => &NF4,
        }
    }
}

const FP4: [f32; 16] = [
    0.0,
    0.005_208_333_4,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    -0.0,
    -0.005_208_333_4,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

impl MatMulBnb4 {
    /// Of the weight `[out_features, in_features]`, flat:
    /// - `codes`: u8, two to a byte, the first in the high half;
    /// - `absmax`: floats, one for each block.
    ///
    /// # Errors
    /// When attributes are impossible, types or shapes others, or an absmax negative or not
    /// finite.
    pub fn new(
        attributes: MatMulBnb4Attributes,
        codes: Tensor,
        absmax: Tensor,
    ) -> Result<Self, Error> {
        let weight = Self::unscanned(attributes, codes, absmax)?;
        Self::ABSMAX.check(&weight.absmax)?;
        Ok(weight)
    }

    /// What an absmax must be.
    pub(crate) const ABSMAX: ValueCheck = ValueCheck::FiniteAndNotNegative;

    /// As [`Self::new`], for an absmax that is known to be [`Self::ABSMAX`].
    pub(crate) fn unscanned(
        attributes: MatMulBnb4Attributes,
        codes: Tensor,
        absmax: Tensor,
    ) -> Result<Self, Error> {
        let MatMulBnb4Attributes {
            in_features,
            out_features,
            block_size,
            ..
        } = attributes;
        if !BLOCK_SIZES.contains(&block_size) {
            let why = format!("no blocks of {block_size} are known");
            return Err(Error::tensor(codes.name(), why));
        }
        let elements = in_features.checked_mul(out_features);
        let elements = elements.ok_or_else(|| unfit(&codes, "more than there can be"))?;
        let bytes = elements.div_ceil(2);
        if codes.dtype() != DataType::U8 || codes.dims() != [bytes] {
            return Err(unfit(&codes, &format!("u8 of shape [{bytes}]")));
        }
        let blocks = elements.div_ceil(block_size);
        if !absmax.dtype().is_float() || absmax.dims() != [blocks] {
            return Err(unfit(&absmax, &format!("floats of shape [{blocks}]")));
        }
        Ok(Self {
            attributes,
            codes,
            absmax,
        })
    }

    /// Sizes and the type of codes.
    pub fn attributes(&self) -> MatMulBnb4Attributes {
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

    /// u8, `[ceil(out_features * in_features / 2)]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// Floats, `[ceil(out_features * in_features / block_size)]`.
    pub fn absmax(&self) -> &Tensor {
        &self.absmax
    }

    /// Writes the codes of an output, one to a byte; as many as `out` has room for.
    ///
    /// # Errors
    /// When there is no such output, or it has fewer codes.
    pub fn read_codes(&self, output: usize, out: &mut [u8]) -> Result<(), Error> {
        if output >= self.out_features() || out.len() > self.in_features() {
            let why = format!("output {output} with {} codes was asked for", out.len());
            return Err(Error::tensor(self.codes.name(), why));
        }
        let first = output * self.in_features();
        for (element, code) in (first..).zip(out) {
            *code = self.code(element);
        }
        Ok(())
    }

    fn code(&self, element: usize) -> u8 {
        let byte = self.codes.data().get(element / 2).copied().unwrap_or(0);
        if element.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 0x0f
        }
    }

    /// All elements of an output, of which there must be as many.
    pub(super) fn read_output(&self, output: usize, out: &mut [f32]) -> Result<(), Error> {
        let block_size = self.attributes.block_size;
        let table = self.attributes.quant_type.table();
        let mut element = output * self.in_features();
        let mut rest = out;
        while !rest.is_empty() {
            let left_in_block = block_size - element % block_size;
            let (block, after) = rest.split_at_mut(left_in_block.min(rest.len()));
            let mut absmax = [0.0];
            self.absmax.read_f32(element / block_size, &mut absmax)?;
            for value in block {
                *value = table[usize::from(self.code(element))] * absmax[0];
                element += 1;
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
        Tensor::new(name, dtype, dims.to_vec(), data.into()).unwrap()
    }

    fn floats(values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensor("absmax", DataType::F32, &[values.len()], data)
    }

    /// 3 outputs of 7: 21 elements in 11 bytes and 2 blocks of 16.
    fn attributes() -> MatMulBnb4Attributes {
        MatMulBnb4Attributes {
            in_features: 7,
            out_features: 3,
            block_size: 16,
            quant_type: Bnb4QuantType::Nf4,
        }
    }

    fn codes(len: usize) -> Tensor {
        let bytes = (0..len).map(|i| (i * 37 % 256) as u8).collect();
        tensor("w", DataType::U8, &[len], bytes)
    }

    fn refused(attributes: MatMulBnb4Attributes, codes: Tensor, absmax: Tensor) -> String {
        let error = MatMulBnb4::new(attributes, codes, absmax).unwrap_err();
        error.to_string()
    }

    #[test]
    fn blocks_reach_from_one_output_into_the_next() {
        for quant_type in [Bnb4QuantType::Nf4, Bnb4QuantType::Fp4] {
            let attributes = MatMulBnb4Attributes {
                quant_type,
                ..attributes()
            };
            let weight = MatMulBnb4::new(attributes, codes(11), floats(&[2.0, 0.5])).unwrap();
            for output in 0..3 {
                let (mut out, mut codes) = ([0.0; 7], [0; 7]);
                weight.read_output(output, &mut out).unwrap();
                weight.read_codes(output, &mut codes).unwrap();
                for (i, &value) in out.iter().enumerate() {
                    let element = output * 7 + i;
                    let byte = (element / 2 * 37 % 256) as u8;
                    let code = [byte >> 4, byte & 15][element % 2];
                    assert_eq!(codes[i], code);
                    let absmax = [2.0, 0.5][element / 16];
                    assert_eq!(value, quant_type.table()[usize::from(code)] * absmax);
                }
            }
            assert!(weight.read_codes(3, &mut [0; 7]).is_err());
            assert!(weight.read_codes(0, &mut [0; 8]).is_err());
        }
    }

    #[test]
    fn the_tables_are_those_of_their_definitions() {
        assert!(NF4.is_sorted() && NF4[7] == 0.0);
        for (code, &value) in FP4.iter().enumerate() {
            let magnitudes = [
                0.0,
                1.0 / 192.0,
                2.0 / 3.0,
                1.0,
                1.0 / 3.0,
                0.5,
                1.0 / 6.0,
                0.25,
            ];
            let sign = if code < 8 { 1.0 } else { -1.0 };
            assert!((f64::from(value) - sign * magnitudes[code % 8]).abs() < 1e-7);
        }
    }

    #[test]
    fn absmax_of_zero_is_a_block_of_zeros() {
        let weight = MatMulBnb4::new(attributes(), codes(11), floats(&[0.0, 1.0])).unwrap();
        let mut out = [1.0; 7];
        weight.read_output(0, &mut out).unwrap();
        assert!(out.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn absmax_negative_infinite_or_nan() {
        for bad in [-1e-9, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let text = refused(attributes(), codes(11), floats(&[1.0, bad]));
            let want = format!("{bad} at element 1 is not finite and at least 0");
            assert!(text.contains(&want), "{text}");
        }
    }

    #[test]
    fn codes_and_absmax_of_wrong_length_or_type() {
        for len in [10, 12, 21, 0] {
            let text = refused(attributes(), codes(len), floats(&[1.0, 1.0]));
            assert!(text.contains("need u8 of shape [11]"), "{text}");
        }
        let signed = tensor("w", DataType::I8, &[11], vec![0; 11]);
        refused(attributes(), signed, floats(&[1.0, 1.0]));
        let two_axes = tensor("w", DataType::U8, &[11, 1], vec![0; 11]);
        refused(attributes(), two_axes, floats(&[1.0, 1.0]));
        for len in [0, 1, 3] {
            let text = refused(attributes(), codes(11), floats(&vec![1.0; len]));
            assert!(text.contains("need floats of shape [2]"), "{text}");
        }
        let integers = tensor("absmax", DataType::U8, &[2], vec![1; 2]);
        refused(attributes(), codes(11), integers);
    }

    #[test]
    fn impossible_blocks_and_sizes() {
        for block_size in [0, 1, 15, 24, 512, usize::MAX] {
            let attributes = MatMulBnb4Attributes {
                block_size,
                ..attributes()
            };
            let text = refused(attributes, codes(11), floats(&[1.0, 1.0]));
            assert!(text.contains("no blocks of"), "{text}");
        }
        let attributes = MatMulBnb4Attributes {
            in_features: usize::MAX,
            ..attributes()
        };
        refused(attributes, codes(11), floats(&[1.0, 1.0]));
    }
}

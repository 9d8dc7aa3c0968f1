//! The embedding table.

use super::block_table::block_table;
use super::codes::{check_zero_point_type, read_codes};
use super::dequantize_linear::DequantizeLinear;
use super::matmul_integer::MatMulInteger;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// One vector for each token, in floats or in codes with scales. Cloning shares the
/// values.
#[derive(Debug, Clone)]
pub struct EmbeddingTable {
    /// `[vocab_size, hidden_size]`.
    weight: Tensor,
    quantization: Quantization,
}

/// What rows are made of.
#[derive(Debug, Clone)]
enum Quantization {
    /// Floats.
    None,
    /// Codes with one scale and one zero point.
    Whole { scale: f32, zero_point: f32 },
    /// Codes with a scale for each row.
    ByRow(Tensor),
    /// Codes with a scale and a zero point for each block of a row.
    ByBlock(Box<DequantizeLinear>),
}

impl EmbeddingTable {
    /// f32, f16 or bf16, `[vocab_size, hidden_size]`.
    ///
    /// # Errors
    /// When it is of another type or has other axes.
    pub fn new(weight: Tensor) -> Result<Self, Error> {
        if !weight.dtype().is_float() {
            let why = format!("{} where a float is needed", weight.dtype());
            return Err(Error::tensor(weight.name(), why));
        }
        check_axes(&weight)?;
        Ok(Self {
            weight,
            quantization: Quantization::None,
        })
    }

    /// i8 or u8 codes `[vocab_size, hidden_size]`, with one scale, and one zero point of the codes'
    /// type (ONNX `Gather` and `DequantizeLinear`). No zero point is 0.
    ///
    /// # Errors
    /// When types or shapes are others, or the scale is not positive and finite.
    pub fn quantized(
        codes: Tensor,
        scale: &Tensor,
        zero_point: Option<&Tensor>,
    ) -> Result<Self, Error> {
        if !matches!(codes.dtype(), DataType::I8 | DataType::U8) {
            let why = format!("{} where 8-bit codes are needed", codes.dtype());
            return Err(Error::tensor(codes.name(), why));
        }
        check_axes(&codes)?;
        for tensor in [Some(scale), zero_point].into_iter().flatten() {
            if tensor.len() != 1 {
                let why = format!("has shape {:?}, one value is needed", tensor.dims());
                return Err(Error::tensor(tensor.name(), why));
            }
        }
        MatMulInteger::SCALE.check(scale)?;
        let (mut scale_value, mut zero_value) = ([0.0], [0.0]);
        scale.read_f32(0, &mut scale_value)?;
        if let Some(zero_point) = zero_point {
            check_zero_point_type(zero_point, &codes)?;
            read_codes(zero_point, 0, &mut zero_value)?;
        }
        Ok(Self {
            weight: codes,
            quantization: Quantization::Whole {
                scale: scale_value[0],
                zero_point: zero_value[0],
            },
        })
    }

    /// i8 or u8 codes `[vocab_size, hidden_size]`, with a float scale for each row, or one for all.
    ///
    /// # Errors
    /// When types or shapes are others, or a scale is not positive and finite.
    pub fn quantized_by_row(codes: Tensor, scales: &Tensor) -> Result<Self, Error> {
        if scales.len() == 1 {
            return Self::quantized(codes, scales, None);
        }
        if !matches!(codes.dtype(), DataType::I8 | DataType::U8) {
            let why = format!("{} where 8-bit codes are needed", codes.dtype());
            return Err(Error::tensor(codes.name(), why));
        }
        check_axes(&codes)?;
        let rows = codes.dims()[0];
        if scales.dims() != [rows, 1] || !scales.dtype().is_float() {
            let why = format!(
                "is {} of shape {:?}, a float for each of {rows} rows is needed",
                scales.dtype(),
                scales.dims()
            );
            return Err(Error::tensor(scales.name(), why));
        }
        MatMulInteger::SCALE.check(scales)?;
        Ok(Self {
            weight: codes,
            quantization: Quantization::ByRow(scales.clone()),
        })
    }

    /// Codes of 4 or 8 bits with a scale for each block of a row (`com.microsoft.GatherBlockQuantized`):
    /// - `codes`: u8 `[vocab_size, hidden_size * bits / 8]`, the first of two 4-bit codes in the low
    ///   half of its byte; or u4 or i4 `[vocab_size, hidden_size]`;
    /// - `scales`: floats that are known to be finite, `[vocab_size, ceil(hidden_size / block_size)]`;
    /// - `zero_points`: one for each scale, of the codes' type and packed as they are. None is the
    ///   middle of the range, 8 or 128, for u8, and 0 for the others.
    ///
    /// `block_size` is a power of two from 16 on.
    ///
    /// # Errors
    /// When types or shapes are others.
    pub(crate) fn quantized_by_block(
        codes: &Tensor,
        bits_and_block_size: (usize, usize),
        scales: Tensor,
        zero_points: Option<&Tensor>,
    ) -> Result<Self, Error> {
        let table = block_table(codes, bits_and_block_size, scales, zero_points)?;
        Ok(Self {
            weight: table.codes().clone(),
            quantization: Quantization::ByBlock(Box::new(table)),
        })
    }

    /// The values, or the codes that stand for them, `[vocab_size, hidden_size]`.
    pub fn tensor(&self) -> &Tensor {
        &self.weight
    }

    /// Number of rows.
    pub fn vocab_size(&self) -> usize {
        self.weight.dims()[0]
    }

    /// Width of a row.
    pub fn hidden_size(&self) -> usize {
        self.weight.dims()[1]
    }

    /// Writes the vector of token `id` to `out`, `hidden_size` values. Of codes it is
    /// `(code - zero_point) * scale`, computed in f32.
    ///
    /// # Errors
    /// When there is no such token, or `out` has another length.
    ///
    /// ```
    /// use akidb_transformer::EmbeddingTable;
    /// use akidb_onnx::tensor::{DataType, Tensor};
    /// let codes = Tensor::new("codes", DataType::U8, vec![2, 2], vec![0, 1, 2, 3].into())?;
    /// let scale = 0.5f32.to_le_bytes().to_vec();
    /// let scale = Tensor::new("scale", DataType::F32, vec![], scale.into())?;
    /// let zero_point = Tensor::new("zero_point", DataType::U8, vec![], vec![2].into())?;
    /// let table = EmbeddingTable::quantized(codes, &scale, Some(&zero_point))?;
    /// let mut row = [0.0; 2];
    /// table.read_row(0, &mut row)?;
    /// assert_eq!(row, [-1.0, -0.5]);
    /// # Ok::<(), akidb_onnx::Error>(())
    /// ```
    pub fn read_row(&self, id: usize, out: &mut [f32]) -> Result<(), Error> {
        let width = self.hidden_size();
        if id >= self.vocab_size() || out.len() != width {
            let why = format!(
                "row {id} of {} values was asked for, there are {} of {width}",
                out.len(),
                self.vocab_size()
            );
            return Err(Error::tensor(self.weight.name(), why));
        }
        let (scale, zero_point) = match &self.quantization {
            Quantization::None => return self.weight.read_f32(id * width, out),
            Quantization::Whole { scale, zero_point } => (*scale, *zero_point),
            Quantization::ByBlock(table) => return table.read(id, 0, out),
            Quantization::ByRow(scales) => {
                let mut scale = [0.0];
                scales.read_f32(id, &mut scale)?;
                (scale[0], 0.0)
            }
        };
        read_codes(&self.weight, id * width, out)?;
        for value in out {
            *value = (*value - zero_point) * scale;
        }
        Ok(())
    }
}

fn check_axes(weight: &Tensor) -> Result<(), Error> {
    match weight.dims() {
        [_, _] => Ok(()),
        dims => Err(Error::tensor(
            weight.name(),
            format!("has shape {dims:?}, not two axes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
        Tensor::new("t", dtype, dims.to_vec(), data.into()).unwrap()
    }

    fn scale(value: f32) -> Tensor {
        tensor(DataType::F32, &[], value.to_le_bytes().to_vec())
    }

    fn row(table: &EmbeddingTable, id: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; table.hidden_size()];
        table.read_row(id, &mut out).unwrap();
        out
    }

    #[test]
    fn rows_may_have_scales_of_their_own() {
        let codes = || tensor(DataType::I8, &[2, 2], vec![1, 255, 2, 254]);
        let scales = |dims: &[usize], values: &[f32]| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensor(DataType::F32, dims, bytes)
        };
        let table = EmbeddingTable::quantized_by_row(codes(), &scales(&[2, 1], &[0.5, 3.0]));
        let table = table.unwrap();
        assert_eq!(
            (row(&table, 0), row(&table, 1)),
            (vec![0.5, -0.5], vec![6.0, -6.0])
        );
        let one = EmbeddingTable::quantized_by_row(codes(), &scales(&[1, 1], &[2.0])).unwrap();
        assert_eq!(row(&one, 1), [4.0, -4.0]);
        for bad in [
            scales(&[1, 2], &[0.5, 3.0]),
            scales(&[3, 1], &[0.5, 3.0, 1.0]),
            scales(&[2, 1], &[0.5, f32::NAN]),
            scales(&[2, 1], &[0.5, 0.0]),
        ] {
            assert!(EmbeddingTable::quantized_by_row(codes(), &bad).is_err());
        }
    }

    #[test]
    fn rows_of_every_type() {
        let data = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        let table = EmbeddingTable::new(tensor(DataType::F32, &[2, 2], data)).unwrap();
        assert_eq!(
            (row(&table, 0), row(&table, 1)),
            (vec![1.0, 2.0], vec![3.0, 4.0])
        );
        for (dtype, zero, want) in [
            (DataType::U8, None, [508.0, 510.0]),
            (DataType::I8, None, [-4.0, -2.0]),
            (DataType::U8, Some(3), [502.0, 504.0]),
            (DataType::I8, Some(0xff), [-2.0, 0.0]),
        ] {
            let codes = tensor(dtype, &[2, 2], vec![0, 1, 254, 255]);
            let zero = zero.map(|zero| tensor(dtype, &[1], vec![zero]));
            let table = EmbeddingTable::quantized(codes, &scale(2.0), zero.as_ref()).unwrap();
            assert_eq!(row(&table, 1), want);
        }
    }

    #[test]
    fn tokens_and_widths_that_are_not_there() {
        let table = EmbeddingTable::new(tensor(DataType::F16, &[2, 3], vec![0; 12])).unwrap();
        for (id, len) in [(2, 3), (usize::MAX, 3), (0, 2), (0, 4), (1, 0)] {
            table.read_row(id, &mut vec![0.0; len]).unwrap_err();
        }
    }

    #[test]
    fn scales_that_are_zero_negative_infinite_or_nan() {
        for bad in [0.0, -1.0, f32::INFINITY, f32::NAN] {
            let codes = tensor(DataType::U8, &[1, 1], vec![0]);
            EmbeddingTable::quantized(codes, &scale(bad), None).unwrap_err();
        }
    }

    #[test]
    fn other_types_and_shapes() {
        EmbeddingTable::new(tensor(DataType::U8, &[1, 1], vec![0])).unwrap_err();
        EmbeddingTable::new(tensor(DataType::F32, &[1], vec![0; 4])).unwrap_err();
        let codes = || tensor(DataType::U8, &[1, 2], vec![0; 2]);
        let quantized = |codes, scale: &Tensor, zero: Option<&Tensor>| {
            EmbeddingTable::quantized(codes, scale, zero).unwrap_err();
        };
        let one = scale(1.0);
        quantized(tensor(DataType::F32, &[1, 1], vec![0; 4]), &one, None);
        quantized(tensor(DataType::U8, &[2], vec![0; 2]), &one, None);
        quantized(codes(), &tensor(DataType::F32, &[2], vec![0; 8]), None);
        quantized(codes(), &tensor(DataType::F32, &[0], vec![]), None);
        quantized(codes(), &tensor(DataType::I32, &[], vec![1; 4]), None);
        quantized(codes(), &one, Some(&tensor(DataType::I8, &[], vec![0])));
        quantized(codes(), &one, Some(&tensor(DataType::U8, &[2], vec![0; 2])));
    }
}

//! Linear layers, however a file stores their weights.

use std::ops::Range;

use super::{DequantizeLinear, MatMulBnb4, MatMulInteger, MatMulNBits, WeightOrder};
use akidb_onnx::Error;
use akidb_onnx::tensor::Tensor;

/// A linear layer: `y = x · W`, plus a bias where there is one. Cloning shares the weight.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: LinearWeight,
    first_output: usize,
    out_features: usize,
    bias: Option<Tensor>,
}

/// How a file stores a linear layer's weight.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinearWeight {
    /// f32, f16 or bf16, `[in_features, out_features]` (ONNX `MatMul`).
    InOut(Tensor),
    /// f32, f16 or bf16, `[out_features, in_features]` (PyTorch `nn.Linear`).
    OutIn(Tensor),
    /// 8 bits an element, one scale for all or for each output.
    MatMulInteger(MatMulInteger),
    /// 4 or 8 bits an element, one scale for each block of inputs.
    MatMulNBits(MatMulNBits),
    /// NF4 or FP4, one scale for each block of elements.
    MatMulBnb4(MatMulBnb4),
    /// 4 or 8 bits an element, with what scales ONNX allows; those that fit are
    /// [`LinearWeight::MatMulInteger`].
    DequantizeLinear(DequantizeLinear),
}

impl LinearWeight {
    /// Whether it is codes, and not f32, f16 or bf16.
    pub fn is_quantized(&self) -> bool {
        !matches!(self, Self::InOut(_) | Self::OutIn(_))
    }

    /// The elements, or the codes that stand for them.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::InOut(weight) | Self::OutIn(weight) => weight,
            Self::MatMulInteger(weight) => weight.codes(),
            Self::MatMulNBits(weight) => weight.codes(),
            Self::MatMulBnb4(weight) => weight.codes(),
            Self::DequantizeLinear(weight) => weight.codes(),
        }
    }
}

impl Linear {
    /// The layer that multiplies by all of `weight`.
    ///
    /// # Errors
    /// When a float weight has another number of axes than two, or is no float.
    ///
    /// ```
    /// use akidb_transformer::{Linear, LinearWeight};
    /// use akidb_onnx::tensor::{DataType, Tensor};
    /// let weight: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes).concat();
    /// let weight = Tensor::new("w", DataType::F32, vec![2, 3], weight.into())?;
    /// let linear = Linear::new(LinearWeight::InOut(weight))?;
    /// let mut rows = [0.0; 4];
    /// linear.dequantize(1, &mut rows)?;
    /// assert_eq!(rows, [2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), akidb_onnx::Error>(())
    /// ```
    pub fn new(weight: LinearWeight) -> Result<Self, Error> {
        let out_features = match &weight {
            LinearWeight::InOut(tensor) => float_dims(tensor)?[1],
            LinearWeight::OutIn(tensor) => float_dims(tensor)?[0],
            LinearWeight::MatMulInteger(weight) => weight.out_features(),
            LinearWeight::MatMulNBits(weight) => weight.out_features(),
            LinearWeight::MatMulBnb4(weight) => weight.out_features(),
            LinearWeight::DequantizeLinear(weight) => weight.out_features(),
        };
        Ok(Self {
            weight,
            first_output: 0,
            out_features,
            bias: None,
        })
    }

    /// The layer that gives only `outputs` of this one: what `Split` makes of a product with
    /// several weights packed side by side.
    ///
    /// # Errors
    /// When this layer has fewer outputs, or the range is backwards.
    pub fn outputs(&self, outputs: Range<usize>) -> Result<Self, Error> {
        if outputs.start > outputs.end || outputs.end > self.out_features {
            return Err(self.no_such_outputs(outputs));
        }
        let bias = self.bias.as_ref().map(|bias| {
            let size = bias.dtype().size();
            let data = bias.data().slice(outputs.start * size..outputs.end * size);
            Tensor::new(bias.name(), bias.dtype(), vec![outputs.len()], data)
        });
        Ok(Self {
            weight: self.weight.clone(),
            first_output: self.first_output + outputs.start,
            out_features: outputs.len(),
            bias: bias.transpose()?,
        })
    }

    /// The layer that adds `bias` to its outputs.
    ///
    /// # Errors
    /// When it is no float, or not one value for each output.
    pub fn with_bias(self, bias: Tensor) -> Result<Self, Error> {
        if bias.dtype().is_float() && bias.dims() == [self.out_features] {
            return Ok(Self {
                bias: Some(bias),
                ..self
            });
        }
        let why = format!(
            "{} of shape {:?} is no bias of {} outputs",
            bias.dtype(),
            bias.dims(),
            self.out_features
        );
        Err(Error::tensor(bias.name(), why))
    }

    /// What is added to the outputs, a float for each.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Width of `x` (K).
    pub fn in_features(&self) -> usize {
        match &self.weight {
            LinearWeight::InOut(weight) => weight.dims()[0],
            LinearWeight::OutIn(weight) => weight.dims()[1],
            LinearWeight::MatMulInteger(weight) => weight.in_features(),
            LinearWeight::MatMulNBits(weight) => weight.in_features(),
            LinearWeight::MatMulBnb4(weight) => weight.in_features(),
            LinearWeight::DequantizeLinear(weight) => weight.in_features(),
        }
    }

    /// Width of `y` (N).
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// The output of [`Self::weight`] that is the first of this layer's: 0 unless other layers'
    /// weights are packed in the same tensor.
    pub fn first_output(&self) -> usize {
        self.first_output
    }

    /// The weight as the file stores it, other layers' outputs included.
    pub fn weight(&self) -> &LinearWeight {
        &self.weight
    }

    /// Writes the weights of some outputs as f32, `[outputs, in_features]`, from output `first` of
    /// this layer on; as many as `out` has room for. Quantized weights are
    /// `(code - zero_point) * scale`, computed in f32.
    ///
    /// # Errors
    /// When `out` is no whole number of rows, or the layer has fewer outputs.
    pub fn dequantize(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let width = self.in_features();
        if out.is_empty() {
            return Ok(());
        }
        if width == 0 || !out.len().is_multiple_of(width) {
            let why = format!("{} values are no rows of {width}", out.len());
            return Err(Error::tensor(self.weight.tensor().name(), why));
        }
        let rows = out.len() / width;
        let end = first.checked_add(rows);
        if end.is_none_or(|end| end > self.out_features) {
            return Err(self.no_such_outputs(first..first.saturating_add(rows)));
        }
        let first = self.first_output + first;
        match &self.weight {
            LinearWeight::InOut(weight) => {
                let all = weight.dims()[1];
                transpose(first, width, out, |k, output, columns| {
                    weight.read_f32(k * all + output, columns)
                })
            }
            LinearWeight::OutIn(weight) => weight.read_f32(first * width, out),
            LinearWeight::MatMulInteger(weight) => {
                transpose(first, width, out, |k, output, columns| {
                    weight.read(k, output, columns)
                })
            }
            LinearWeight::MatMulNBits(weight) => each_row(first, width, out, |output, row| {
                weight.read_output(output, row)
            }),
            LinearWeight::MatMulBnb4(weight) => each_row(first, width, out, |output, row| {
                weight.read_output(output, row)
            }),
            LinearWeight::DequantizeLinear(weight) => match weight.attributes().order {
                WeightOrder::InOut => transpose(first, width, out, |k, output, columns| {
                    weight.read(k, output, columns)
                }),
                WeightOrder::OutIn => {
                    each_row(first, width, out, |output, row| weight.read(output, 0, row))
                }
            },
        }
    }

    fn no_such_outputs(&self, outputs: Range<usize>) -> Error {
        let why = format!(
            "outputs {outputs:?} were asked for, there are {}",
            self.out_features
        );
        Error::tensor(self.weight.tensor().name(), why)
    }
}

fn float_dims(tensor: &Tensor) -> Result<[usize; 2], Error> {
    match *tensor.dims() {
        [a, b] if tensor.dtype().is_float() => Ok([a, b]),
        [_, _] => {
            let why = format!("{} where a float is needed", tensor.dtype());
            Err(Error::tensor(tensor.name(), why))
        }
        _ => {
            let why = format!("has shape {:?}, not two axes", tensor.dims());
            Err(Error::tensor(tensor.name(), why))
        }
    }
}

fn each_row(
    first: usize,
    width: usize,
    out: &mut [f32],
    read: impl Fn(usize, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rows = out.chunks_exact_mut(width).enumerate();
    rows.try_for_each(|(i, row)| read(first + i, row))
}

/// Fills rows of `width` from a weight stored the other way round. `read` is given k, an output,
/// and room for that many outputs of k.
fn transpose(
    first: usize,
    width: usize,
    out: &mut [f32],
    read: impl Fn(usize, usize, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    // One cache line of f32, and no allocation.
    const COLUMNS: usize = 16;
    let mut columns = [0.0; COLUMNS];
    for (i, rows) in out.chunks_mut(COLUMNS * width).enumerate() {
        let columns = &mut columns[..rows.len() / width];
        for k in 0..width {
            read(k, first + i * COLUMNS, columns)?;
            for (row, &value) in rows.chunks_exact_mut(width).zip(&*columns) {
                row[k] = value;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use akidb_onnx::tensor::DataType;

    /// Element (k, n) is 100 k + n.
    fn linears(k: usize, n: usize) -> [Linear; 2] {
        let tensor = |dims: [usize; 2], value: fn(usize, usize) -> usize| {
            let data = (0..dims[0]).flat_map(|i| (0..dims[1]).map(move |j| value(i, j)));
            let data: Vec<u8> = data.flat_map(|v| (v as f32).to_le_bytes()).collect();
            Tensor::new("w", DataType::F32, dims.to_vec(), data.into()).unwrap()
        };
        let in_out = tensor([k, n], |k, n| 100 * k + n);
        let out_in = tensor([n, k], |n, k| 100 * k + n);
        [LinearWeight::InOut(in_out), LinearWeight::OutIn(out_in)].map(|w| Linear::new(w).unwrap())
    }

    #[test]
    fn any_range_of_outputs_at_any_edge_of_a_chunk() {
        for linear in linears(3, 50) {
            for (first, count) in [(0, 50), (0, 1), (49, 1), (3, 16), (3, 17), (1, 33), (50, 0)] {
                let mut out = vec![0.0; 3 * count];
                linear.dequantize(first, &mut out).unwrap();
                for (i, &v) in out.iter().enumerate() {
                    assert_eq!(v, (100 * (i % 3) + first + i / 3) as f32);
                }
            }
        }
    }

    #[test]
    fn a_part_of_the_outputs() {
        for linear in linears(2, 9) {
            let part = linear.outputs(2..8).unwrap().outputs(1..4).unwrap();
            assert_eq!(
                (part.first_output(), part.out_features(), part.in_features()),
                (3, 3, 2)
            );
            let mut out = [0.0; 6];
            part.dequantize(0, &mut out).unwrap();
            assert_eq!(out, [3.0, 103.0, 4.0, 104.0, 5.0, 105.0]);
            part.dequantize(1, &mut out).unwrap_err();
            part.outputs(2..4).unwrap_err();
            part.outputs(Range { start: 2, end: 1 }).unwrap_err();
        }
    }

    #[test]
    fn a_bias_is_cut_with_its_outputs() {
        let floats = |values: &[f32]| {
            let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Tensor::new("b", DataType::F32, vec![values.len()], data.into()).unwrap()
        };
        for linear in linears(2, 4) {
            assert!(linear.bias().is_none());
            linear.clone().with_bias(floats(&[1.0; 3])).unwrap_err();
            let codes = Tensor::new("b", DataType::U8, vec![4], vec![0; 4].into()).unwrap();
            linear.clone().with_bias(codes).unwrap_err();
            let linear = linear.with_bias(floats(&[1.0, 2.0, 3.0, 4.0])).unwrap();
            let part = linear.outputs(1..4).unwrap().outputs(0..2).unwrap();
            assert_eq!(part.bias().unwrap().to_f32_vec().unwrap(), [2.0, 3.0]);
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for linear in linears(3, 4) {
            for (first, len) in [(0, 13), (0, 15), (4, 3), (usize::MAX, 3), (0, 2)] {
                linear.dequantize(first, &mut vec![0.0; len]).unwrap_err();
            }
        }
    }

    #[test]
    fn weights_of_other_shapes_and_types() {
        for (dims, dtype, len) in [
            (vec![4], DataType::F32, 16),
            (vec![2, 1, 2], DataType::F32, 16),
            (vec![2, 2], DataType::U8, 4),
        ] {
            let tensor = Tensor::new("w", dtype, dims, vec![0; len].into()).unwrap();
            Linear::new(LinearWeight::InOut(tensor.clone())).unwrap_err();
            Linear::new(LinearWeight::OutIn(tensor)).unwrap_err();
        }
    }
}

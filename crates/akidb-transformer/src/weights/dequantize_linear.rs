//! Weights behind an ONNX `DequantizeLinear`.

use super::codes::{check_zero_point_type, read_codes};
use super::scales::ValueCheck;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// Elements that are scaled together.
const AT_A_TIME: usize = 64;

/// A weight as codes: `(code - zero_point) * scale`, computed in f32. Cloning shares the tensors.
#[derive(Debug, Clone)]
pub struct DequantizeLinear {
    attributes: DequantizeLinearAttributes,
    codes: Tensor,
    scales: Tensor,
    zero_points: Option<Tensor>,
    rows: Steps,
    columns: Steps,
}

/// How the codes lie, and which of them share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DequantizeLinearAttributes {
    /// Axes of the codes.
    pub order: WeightOrder,
    /// The codes' axis along which scales differ, 0 or 1; without meaning when there is one scale.
    pub axis: usize,
    /// Elements along `axis` that share a scale, of which the other axis has its own; none where
    /// an index along `axis` has one scale.
    pub block_size: Option<usize>,
}

/// Axes of a linear layer's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightOrder {
    /// `[in_features, out_features]`.
    InOut,
    /// `[out_features, in_features]`.
    OutIn,
}

/// The scale of index i along an axis is `i / share * stride`.
#[derive(Debug, Clone, Copy)]
struct Steps {
    share: usize,
    stride: usize,
}

impl Steps {
    const NONE: Self = Self {
        share: 1,
        stride: 0,
    };

    fn at(self, index: usize) -> usize {
        index / self.share * self.stride
    }
}

impl DequantizeLinearAttributes {
    /// What a scale must be. ONNX Runtime's symmetric quantizer writes negative ones for blocks,
    /// and zeros for blocks of zeros.
    pub(crate) fn scale_check(self) -> ValueCheck {
        match self.block_size {
            Some(_) => ValueCheck::Finite,
            None => ValueCheck::FiniteAndPositive,
        }
    }
}

impl DequantizeLinear {
    /// `codes` are i8, u8, i4 or u4 of two axes, see [`WeightOrder`]. `scales` are floats, and
    /// `zero_points`, of the codes' type, have the scales' shape:
    /// - one value;
    /// - one for each index along `axis`;
    /// - in blocks, the codes' shape with `ceil(length / block_size)` along `axis`. The last block
    ///   may be shorter.
    ///
    /// No zero point is 0.
    ///
    /// # Errors
    /// When types or shapes are others, or a scale is not finite; outside blocks, also when it is
    /// not positive.
    ///
    /// ```
    /// use akidb_transformer::{DequantizeLinear, DequantizeLinearAttributes, WeightOrder};
    /// use akidb_transformer::{Linear, LinearWeight};
    /// use akidb_onnx::tensor::{DataType, Tensor};
    /// // 3 inputs, 1 output, a scale for each two inputs.
    /// let codes = Tensor::new("w", DataType::I4, vec![3, 1], vec![0x21, 0x0f].into())?;
    /// let scales: Vec<u8> = [0.5f32, 2.0].map(f32::to_le_bytes).concat();
    /// let scales = Tensor::new("scales", DataType::F32, vec![2, 1], scales.into())?;
    /// let attributes = DequantizeLinearAttributes {
    ///     order: WeightOrder::InOut,
    ///     axis: 0,
    ///     block_size: Some(2),
    /// };
    /// let weight = DequantizeLinear::new(attributes, codes, scales, None)?;
    /// let mut row = [0.0; 3];
    /// Linear::new(LinearWeight::DequantizeLinear(weight))?.dequantize(0, &mut row)?;
    /// assert_eq!(row, [0.5, 1.0, -2.0]);
    /// # Ok::<(), akidb_onnx::Error>(())
    /// ```
    pub fn new(
        attributes: DequantizeLinearAttributes,
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
    ) -> Result<Self, Error> {
        let weight = Self::unscanned(attributes, codes, scales, zero_points)?;
        attributes.scale_check().check(&weight.scales)?;
        Ok(weight)
    }

    /// As [`Self::new`], for scales that are known to be what they must.
    pub(crate) fn unscanned(
        attributes: DequantizeLinearAttributes,
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
    ) -> Result<Self, Error> {
        let is_code = matches!(
            codes.dtype(),
            DataType::I8 | DataType::U8 | DataType::I4 | DataType::U4
        );
        let &[rows, columns] = codes.dims() else {
            return Err(no_codes(&codes));
        };
        if !is_code {
            return Err(no_codes(&codes));
        }
        let (rows, columns) = steps(attributes, rows, columns, &scales)?;
        if !scales.dtype().is_float() {
            let why = format!("{} where a float is needed", scales.dtype());
            return Err(Error::tensor(scales.name(), why));
        }
        if let Some(zero_points) = &zero_points {
            check_zero_point_type(zero_points, &codes)?;
            if zero_points.dims() != scales.dims() {
                let why = format!(
                    "has shape {:?}, the scales have {:?}",
                    zero_points.dims(),
                    scales.dims()
                );
                return Err(Error::tensor(zero_points.name(), why));
            }
        }
        Ok(Self {
            attributes,
            codes,
            scales,
            zero_points,
            rows,
            columns,
        })
    }

    /// Axes and blocks.
    pub fn attributes(&self) -> DequantizeLinearAttributes {
        self.attributes
    }

    /// i8, u8, i4 or u4, two axes.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// Floats.
    pub fn scales(&self) -> &Tensor {
        &self.scales
    }

    /// Of the codes' type and the scales' shape; none is 0.
    pub fn zero_points(&self) -> Option<&Tensor> {
        self.zero_points.as_ref()
    }

    /// K.
    pub fn in_features(&self) -> usize {
        match self.attributes.order {
            WeightOrder::InOut => self.codes.dims()[0],
            WeightOrder::OutIn => self.codes.dims()[1],
        }
    }

    /// N.
    pub fn out_features(&self) -> usize {
        match self.attributes.order {
            WeightOrder::InOut => self.codes.dims()[1],
            WeightOrder::OutIn => self.codes.dims()[0],
        }
    }

    /// Elements of a row of the codes from column `first` on, of which there must be as many.
    pub(super) fn read(&self, row: usize, first: usize, out: &mut [f32]) -> Result<(), Error> {
        read_codes(&self.codes, row * self.codes.dims()[1] + first, out)?;
        let (mut scales, mut zero_points) = ([0.0; AT_A_TIME], [0.0; AT_A_TIME]);
        let mut column = first;
        let mut rest = out;
        while !rest.is_empty() {
            let Steps { share, stride } = self.columns;
            // As many as have one scale, or scales one after another.
            let (len, count) = match (stride, share) {
                (0, _) => (rest.len(), 1),
                (_, 1) => (rest.len().min(AT_A_TIME), rest.len().min(AT_A_TIME)),
                (_, share) => (rest.len().min(share - column % share), 1),
            };
            let (part, after) = rest.split_at_mut(len);
            let (scales, zero_points) = (&mut scales[..count], &mut zero_points[..count]);
            let at = self.rows.at(row) + self.columns.at(column);
            self.scales.read_f32(at, scales)?;
            if let Some(codes) = &self.zero_points {
                read_codes(codes, at, zero_points)?;
            }
            if let ([scale], [zero_point]) = (&*scales, &*zero_points) {
                for value in part {
                    *value = (*value - zero_point) * scale;
                }
            } else {
                for ((value, scale), zero_point) in part.iter_mut().zip(scales).zip(zero_points) {
                    *value = (*value - *zero_point) * *scale;
                }
            }
            column += len;
            rest = after;
        }
        Ok(())
    }
}

fn no_codes(codes: &Tensor) -> Error {
    let why = format!(
        "{} of shape {:?}, 4- or 8-bit codes of two axes are needed",
        codes.dtype(),
        codes.dims()
    );
    Error::tensor(codes.name(), why)
}

/// Which scale belongs to an element, along both of the codes' axes.
fn steps(
    attributes: DequantizeLinearAttributes,
    rows: usize,
    columns: usize,
    scales: &Tensor,
) -> Result<(Steps, Steps), Error> {
    let DequantizeLinearAttributes {
        axis, block_size, ..
    } = attributes;
    let each = Steps {
        share: 1,
        stride: 1,
    };
    let wanted = match (axis, block_size) {
        (0 | 1, None) if matches!(scales.dims(), [] | [1]) => {
            return Ok((Steps::NONE, Steps::NONE));
        }
        (0, None) if scales.dims() == [rows] => return Ok((each, Steps::NONE)),
        (1, None) if scales.dims() == [columns] => return Ok((Steps::NONE, each)),
        (0, None) => format!("one value or {rows}"),
        (1, None) => format!("one value or {columns}"),
        (0, Some(size @ 1..)) => {
            let blocks = [rows.div_ceil(size), columns];
            let row = Steps {
                share: size,
                stride: columns,
            };
            if scales.dims() == blocks {
                return Ok((row, each));
            }
            format!("shape {blocks:?}")
        }
        (1, Some(size @ 1..)) => {
            let blocks = [rows, columns.div_ceil(size)];
            let row = Steps {
                share: 1,
                stride: blocks[1],
            };
            let column = Steps {
                share: size,
                stride: 1,
            };
            if scales.dims() == blocks {
                return Ok((row, column));
            }
            format!("shape {blocks:?}")
        }
        _ => {
            let why = format!("no blocks of {block_size:?} along axis {axis} are known");
            return Err(Error::tensor(scales.name(), why));
        }
    };
    let why = format!("has shape {:?}, {wanted} are needed", scales.dims());
    Err(Error::tensor(scales.name(), why))
}

#[cfg(test)]
#[path = "dequantize_linear_tests.rs"]
mod tests;

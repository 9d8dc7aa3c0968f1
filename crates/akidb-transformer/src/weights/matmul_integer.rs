//! 8-bit weights, as ONNX Runtime's dynamic quantizer stores them.

use super::codes::{check_zero_point_type, read_codes};
use super::scales::ValueCheck;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// The weight of an ONNX `MatMulInteger` between `DynamicQuantizeLinear` and the `Mul` with the
/// scales, or of a `MatMul` behind a `DequantizeLinear`: `(code - zero_point) * scale`. Cloning
/// shares the tensors.
#[derive(Debug, Clone)]
pub struct MatMulInteger {
    /// `[in_features, out_features]`.
    codes: Tensor,
    scales: Tensor,
    zero_points: Option<Tensor>,
}

impl MatMulInteger {
    /// `codes` are i8 or u8 `[in_features, out_features]`; `scales` floats and `zero_points` of
    /// the codes' type, each one value for all or one for each output. No zero point is 0.
    ///
    /// # Errors
    /// When types or shapes are others, or a scale is not positive and finite: no quantizer writes
    /// such, and a damaged file has them.
    pub fn new(codes: Tensor, scales: Tensor, zero_points: Option<Tensor>) -> Result<Self, Error> {
        let weight = Self::unscanned(codes, scales, zero_points)?;
        Self::SCALE.check(&weight.scales)?;
        Ok(weight)
    }

    /// What a scale must be.
    pub(crate) const SCALE: ValueCheck = ValueCheck::FiniteAndPositive;

    /// As [`Self::new`], for scales that are known to be [`Self::SCALE`].
    pub(crate) fn unscanned(
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
    ) -> Result<Self, Error> {
        let (&[_, outputs], DataType::I8 | DataType::U8) = (codes.dims(), codes.dtype()) else {
            let why = format!(
                "{} of shape {:?}, 8-bit codes of two axes are needed",
                codes.dtype(),
                codes.dims()
            );
            return Err(Error::tensor(codes.name(), why));
        };
        check_one_or_each(&scales, outputs)?;
        if !scales.dtype().is_float() {
            let why = format!("{} where a float is needed", scales.dtype());
            return Err(Error::tensor(scales.name(), why));
        }
        if let Some(zero_points) = &zero_points {
            check_one_or_each(zero_points, outputs)?;
            check_zero_point_type(zero_points, &codes)?;
        }
        Ok(Self {
            codes,
            scales,
            zero_points,
        })
    }

    /// i8 or u8, `[in_features, out_features]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// Floats: one, or one for each output; positive.
    pub fn scales(&self) -> &Tensor {
        &self.scales
    }

    /// Of the codes' type: one, or one for each output; none is 0.
    pub fn zero_points(&self) -> Option<&Tensor> {
        self.zero_points.as_ref()
    }

    /// K.
    pub fn in_features(&self) -> usize {
        self.codes.dims()[0]
    }

    /// N.
    pub fn out_features(&self) -> usize {
        self.codes.dims()[1]
    }

    /// Copies the scales of `out.len()` outputs, from output `first` on.
    ///
    /// # Errors
    /// When there are fewer outputs.
    pub fn read_scales(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        one_or_each(&self.scales, first, out, Tensor::read_f32)
    }

    /// As [`Self::read_scales`], the zero points.
    ///
    /// # Errors
    /// When there are fewer outputs.
    pub fn read_zero_points(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        match &self.zero_points {
            Some(zero_points) => one_or_each(zero_points, first, out, read_codes),
            None => {
                out.fill(0.0);
                Ok(())
            }
        }
    }

    /// Elements of row `k` from output `first` on, of which there must be as many.
    pub(super) fn read(&self, k: usize, first: usize, out: &mut [f32]) -> Result<(), Error> {
        const AT_A_TIME: usize = 16;
        let (mut scales, mut zero_points) = ([0.0; AT_A_TIME], [0.0; AT_A_TIME]);
        let mut first = first;
        for out in out.chunks_mut(AT_A_TIME) {
            let (scales, zero_points) = (&mut scales[..out.len()], &mut zero_points[..out.len()]);
            read_codes(&self.codes, k * self.out_features() + first, out)?;
            self.read_scales(first, scales)?;
            self.read_zero_points(first, zero_points)?;
            for ((value, scale), zero_point) in out.iter_mut().zip(&*scales).zip(&*zero_points) {
                *value = (*value - zero_point) * scale;
            }
            first += out.len();
        }
        Ok(())
    }
}

/// Reads the values of some outputs from a tensor with one for each, or one for all.
fn one_or_each(
    tensor: &Tensor,
    first: usize,
    out: &mut [f32],
    read: impl Fn(&Tensor, usize, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    if tensor.len() == 1 {
        let mut only = [0.0];
        read(tensor, 0, &mut only)?;
        out.fill(only[0]);
        return Ok(());
    }
    read(tensor, first, out)
}

/// Refuses other shapes than those that broadcast along the last axis.
fn check_one_or_each(tensor: &Tensor, outputs: usize) -> Result<(), Error> {
    let fits = match tensor.dims() {
        [before @ .., last] => before.iter().all(|&d| d == 1) && (*last == 1 || *last == outputs),
        [] => true,
    };
    if fits && !tensor.is_empty() {
        return Ok(());
    }
    let why = format!(
        "has shape {:?}, one value or {outputs} are needed",
        tensor.dims()
    );
    Err(Error::tensor(tensor.name(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
        Tensor::new(name, dtype, dims.to_vec(), data.into()).unwrap()
    }

    fn floats(dims: &[usize], values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensor("scale", DataType::F32, dims, data)
    }

    /// `[2, 3]`: 0, 1, 127, 128, 254, 255 unsigned; 0, 1, 127, -128, -2, -1 signed.
    fn codes(dtype: DataType) -> Tensor {
        tensor("w", dtype, &[2, 3], vec![0, 1, 127, 128, 254, 255])
    }

    fn zero_points(dtype: DataType, dims: &[usize], values: &[u8]) -> Tensor {
        tensor("zero_point", dtype, dims, values.to_vec())
    }

    fn rows(weight: &MatMulInteger) -> Vec<f32> {
        let mut out = vec![0.0; 6];
        let (first, second) = out.split_at_mut(3);
        weight.read(0, 0, first).unwrap();
        weight.read(1, 0, second).unwrap();
        out
    }

    #[test]
    fn signed_and_unsigned_codes() {
        for (dtype, zero, want) in [
            (DataType::U8, 0, [0.0, 0.5, 63.5, 64.0, 127.0, 127.5]),
            (DataType::U8, 255, [-127.5, -127.0, -64.0, -63.5, -0.5, 0.0]),
            (DataType::I8, 0, [0.0, 0.5, 63.5, -64.0, -1.0, -0.5]),
            (DataType::I8, 0x80, [64.0, 64.5, 127.5, 0.0, 63.0, 63.5]),
        ] {
            let zero_point = zero_points(dtype, &[], &[zero]);
            let scale = floats(&[], &[0.5]);
            let weight = MatMulInteger::new(codes(dtype), scale.clone(), Some(zero_point)).unwrap();
            assert_eq!(rows(&weight), want, "{dtype} {zero}");
        }
    }

    #[test]
    fn scales_and_zero_points_of_each_output() {
        for dims in [&[3][..], &[1, 3], &[1, 1, 3]] {
            let scale = floats(dims, &[1.0, 2.0, 0.5]);
            let weight = MatMulInteger::new(codes(DataType::U8), scale.clone(), None).unwrap();
            assert_eq!(rows(&weight), [0.0, 2.0, 63.5, 128.0, 508.0, 127.5]);
            let zero_point = zero_points(DataType::U8, dims, &[1, 2, 3]);
            let weight =
                MatMulInteger::new(codes(DataType::U8), scale.clone(), Some(zero_point)).unwrap();
            assert_eq!(rows(&weight), [-1.0, -2.0, 62.0, 127.0, 504.0, 126.0]);
            let mut last = [0.0];
            weight.read(1, 2, &mut last).unwrap();
            assert_eq!(last, [126.0]);
        }
    }

    #[test]
    fn scales_that_are_zero_negative_infinite_or_nan() {
        for bad in [0.0, -0.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            for scale in [floats(&[], &[bad]), floats(&[3], &[1.0, 1.0, bad])] {
                let error =
                    MatMulInteger::new(codes(DataType::I8), scale.clone(), None).unwrap_err();
                let want = format!("{bad} at element");
                let text = error.to_string();
                assert!(text.contains(&want) && text.ends_with("is not finite and positive"));
            }
        }
    }

    #[test]
    fn scales_and_zero_points_of_wrong_length() {
        for (dims, len) in [
            (&[2][..], 2),
            (&[4], 4),
            (&[0], 0),
            (&[3, 1], 3),
            (&[2, 3], 6),
            (&[0, 1], 0),
        ] {
            let scale = floats(dims, &vec![1.0; len]);
            let error = MatMulInteger::new(codes(DataType::I8), scale.clone(), None).unwrap_err();
            assert!(error.to_string().contains("one value or 3 are needed"));
            let zero_point = zero_points(DataType::I8, dims, &vec![0; len]);
            let scale = floats(&[1], &[1.0]);
            let weight = MatMulInteger::new(codes(DataType::I8), scale.clone(), Some(zero_point));
            weight.unwrap_err();
        }
    }

    #[test]
    fn wrong_types() {
        let scale = floats(&[], &[1.0]);
        for dtype in [DataType::F32, DataType::F16, DataType::I32] {
            let codes = tensor("w", dtype, &[1, 1], vec![0; dtype.size()]);
            MatMulInteger::new(codes, scale.clone(), None).unwrap_err();
        }
        let flat = tensor("w", DataType::I8, &[6], vec![0; 6]);
        MatMulInteger::new(flat, scale.clone(), None).unwrap_err();
        let integers = tensor("scale", DataType::I32, &[], vec![1, 0, 0, 0]);
        MatMulInteger::new(codes(DataType::I8), integers, None).unwrap_err();
        // A zero point of 200 would be -56 for signed codes.
        let unsigned = zero_points(DataType::U8, &[], &[200]);
        let error =
            MatMulInteger::new(codes(DataType::I8), scale.clone(), Some(unsigned)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor \"zero_point\": zero points are u8, the codes i8"
        );
    }
}

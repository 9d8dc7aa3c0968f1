//! `Mul(Cast(codes), scales)`: weights of 8 bits that are made floats when the graph runs.

use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::tensor::{DataType, Tensor};

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::input;
use crate::weights::MatMulInteger;

impl<'m> Recogniser<'m> {
    /// Codes and scales, if that is what `value` is made of.
    pub(in crate::graph) fn scaled_codes(
        &self,
        value: &'m str,
    ) -> Result<Option<(Tensor, Tensor)>, Error> {
        let model = self.walk.model;
        let Some(mul) = model.producer(value).filter(|node| is_op(node, "", "Mul")) else {
            return Ok(None);
        };
        for [codes, scales] in [[0, 1], [1, 0]] {
            let (Some(codes), Some(scales)) = (input(mul, codes), input(mul, scales)) else {
                continue;
            };
            let Some(cast) = model.producer(codes).filter(|node| is_op(node, "", "Cast")) else {
                continue;
            };
            let Some(codes) = input(cast, 0) else {
                continue;
            };
            let (Some(codes), Some(scales)) = (model.constant(codes)?, model.constant(scales)?)
            else {
                continue;
            };
            let are_codes = matches!(codes.dtype(), DataType::I8 | DataType::U8);
            if are_codes && codes.dims().len() == 2 && scales.dtype().is_float() {
                MatMulInteger::SCALE.check(&scales)?;
                return Ok(Some((codes, scales)));
            }
        }
        Ok(None)
    }
}

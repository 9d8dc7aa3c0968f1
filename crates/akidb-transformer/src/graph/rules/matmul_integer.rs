//! `MatMulInteger` of what `DynamicQuantizeLinear` made, scaled back to floats → [`Linear`].

use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{input, int_attribute, need_input, unknown};
use crate::weights::{Linear, LinearWeight, MatMulInteger};

/// A `MatMulInteger` whose result is scaled back to floats.
pub(super) struct IntegerProduct<'m> {
    product: &'m NodeProto,
    /// The product of both operands' scales.
    scales: &'m str,
}

impl<'m> Recogniser<'m> {
    /// `Mul(Cast(MatMulInteger(..)), scales)`.
    pub(super) fn integer_product(&self, node: &'m NodeProto) -> Option<IntegerProduct<'m>> {
        if !is_op(node, "", "Mul") {
            return None;
        }
        let (a, b) = (input(node, 0)?, input(node, 1)?);
        [(a, b), (b, a)].into_iter().find_map(|(cast, scales)| {
            let cast = self.walk.model.producer(cast)?;
            let to = int_attribute(cast, "to", 0);
            // f16 can't hold the sums.
            if !is_op(cast, "", "Cast") || to != i64::from(DataType::Float as i32) {
                return None;
            }
            let product = self.walk.model.producer(input(cast, 0)?)?;
            is_op(product, "", "MatMulInteger").then_some(IntegerProduct { product, scales })
        })
    }

    /// `MatMulInteger` of what `DynamicQuantizeLinear` made of the input.
    pub(super) fn matmul_integer(
        &self,
        found: &IntegerProduct<'m>,
    ) -> Result<(Linear, &'m str), Error> {
        let product = found.product;
        let codes = need_input(product, 0)?;
        let quantize = self.walk.op(
            codes,
            "",
            "DynamicQuantizeLinear",
            "the input of a quantized layer",
        )?;
        let [_, scale, zero_point] = &*quantize.output else {
            return Err(unknown(quantize, "three outputs are expected"));
        };
        if input(product, 2) != Some(zero_point) {
            return Err(unknown(product, "its input has another zero point"));
        }
        let scales = self
            .walk
            .op(found.scales, "", "Mul", "the product of both scales")?;
        let (a, b) = (need_input(scales, 0)?, need_input(scales, 1)?);
        let weight_scale = if a == scale {
            1
        } else if b == scale {
            0
        } else {
            return Err(unknown(scales, "it does not have the input's scale"));
        };
        let codes = self.walk.need_constant(product, 1)?;
        if codes.dims().len() != 2 {
            let why = format!("its weight has shape {:?}, not two axes", codes.dims());
            return Err(unknown(product, why));
        }
        let zero_points = self.walk.constant_if_given(product, 3)?;
        let scales = self
            .walk
            .scales(scales, weight_scale, MatMulInteger::SCALE)?;
        let weight = MatMulInteger::unscanned(codes, scales, zero_points)?;
        let input = self.walk.uncast(need_input(quantize, 0)?);
        Ok((Linear::new(LinearWeight::MatMulInteger(weight))?, input))
    }
}

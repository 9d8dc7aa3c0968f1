//! The weight of a plain `MatMul`: floats, or codes behind a `DequantizeLinear`, either way round.

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    attribute, expect_attributes, int_attribute, need_input, size_attribute, unknown,
};
use crate::weights::{
    DequantizeLinear, DequantizeLinearAttributes, LinearWeight, MatMulInteger, WeightOrder,
};
use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::tensor::{DataType as TensorType, Tensor};

impl<'m> Recogniser<'m> {
    /// Input 1 of `matmul`.
    pub(in crate::graph) fn matmul_weight(
        &self,
        matmul: &'m NodeProto,
    ) -> Result<LinearWeight, Error> {
        // Whose input the weight is, and which one.
        let mut holder = (matmul, 1);
        let mut order = WeightOrder::InOut;
        if let Some(transpose) = self.walk.op_if(need_input(matmul, 1)?, "", "Transpose") {
            let perm = attribute(transpose, "perm").map(|a| a.ints.as_slice());
            if !matches!(perm, None | Some([1, 0])) {
                return Err(unknown(transpose, format!("perm is {perm:?}, not [1, 0]")));
            }
            holder = (transpose, 0);
            order = WeightOrder::OutIn;
        }
        let value = need_input(holder.0, holder.1)?;
        if let Some(node) = self.walk.op_if(value, "", "DequantizeLinear") {
            return self.dequantize_linear(node, order);
        }
        if order == WeightOrder::InOut
            && let Some((codes, scales)) = self.scaled_codes(value)?
        {
            let outputs = codes.dims()[1];
            if scales.len() != 1 && scales.dims() != [1, outputs] && scales.dims() != [outputs] {
                return Err(unknown(matmul, "its weight has no scale for each output"));
            }
            let dims = if scales.len() == 1 {
                vec![]
            } else {
                vec![outputs]
            };
            let scales = Tensor::new(scales.name(), scales.dtype(), dims, scales.data().clone())?;
            let weight = MatMulInteger::unscanned(codes, scales, None)?;
            return Ok(LinearWeight::MatMulInteger(weight));
        }
        let weight = self.walk.weight(holder.0, holder.1)?;
        if weight.dims().len() != 2 {
            let why = format!("its weight has shape {:?}, not two axes", weight.dims());
            return Err(unknown(matmul, why));
        }
        Ok(match order {
            WeightOrder::InOut => LinearWeight::InOut(weight),
            WeightOrder::OutIn => LinearWeight::OutIn(weight),
        })
    }

    fn dequantize_linear(
        &self,
        node: &'m NodeProto,
        order: WeightOrder,
    ) -> Result<LinearWeight, Error> {
        const FLOATS: [DataType; 3] = [DataType::Float, DataType::Float16, DataType::Bfloat16];
        expect_attributes(node, &["axis", "block_size", "output_dtype"])?;
        let output = int_attribute(node, "output_dtype", 0);
        if output != 0 && !FLOATS.iter().any(|&t| t as i64 == output) {
            return Err(unknown(
                node,
                format!("output_dtype is {output}, not a float type"),
            ));
        }
        let codes = self.walk.need_constant(node, 0)?;
        let [_, outputs] = *codes.dims() else {
            let why = format!("its weight has shape {:?}, not two axes", codes.dims());
            return Err(unknown(node, why));
        };
        let axis = match int_attribute(node, "axis", 1) {
            0 | -2 => 0,
            1 | -1 => 1,
            other => return Err(unknown(node, format!("axis is {other}, of two"))),
        };
        let block_size = match int_attribute(node, "block_size", 0) {
            0 => None,
            _ => Some(size_attribute(node, "block_size")?),
        };
        let attributes = DequantizeLinearAttributes {
            order,
            axis,
            block_size,
        };
        let scales = self.walk.scales(node, 1, attributes.scale_check())?;
        let zero_points = self.walk.constant_if_given(node, 2)?;
        let of_outputs = scales.len() == 1 || (axis == 1 && scales.dims() == [outputs]);
        let same_shape = zero_points
            .as_ref()
            .is_none_or(|zero| zero.dims() == scales.dims());
        if order == WeightOrder::InOut
            && block_size.is_none()
            && matches!(codes.dtype(), TensorType::I8 | TensorType::U8)
            && of_outputs
            && same_shape
        {
            let weight = MatMulInteger::unscanned(codes, scales, zero_points)?;
            return Ok(LinearWeight::MatMulInteger(weight));
        }
        let weight = DequantizeLinear::unscanned(attributes, codes, scales, zero_points)?;
        Ok(LinearWeight::DequantizeLinear(weight))
    }
}

//! `com.microsoft.MatMulNBits` → its weight.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    bits_of_codes, expect_attributes, expect_int, input, size_attribute, unknown,
};
use crate::weights::scales::ValueCheck;
use crate::weights::{LinearWeight, MatMulNBits, MatMulNBitsAttributes};

impl<'m> Recogniser<'m> {
    pub(in crate::graph) fn matmul_nbits(
        &self,
        node: &'m NodeProto,
    ) -> Result<LinearWeight, Error> {
        const ATTRIBUTES: [&str; 6] = [
            "K",
            "N",
            "accuracy_level",
            "bits",
            "block_size",
            "weight_prepacked",
        ];
        expect_attributes(node, &ATTRIBUTES)?;
        expect_int(node, "weight_prepacked", 0, 0)?;
        // A permutation of the inputs, and a bias.
        for index in 4..node.input.len() {
            if input(node, index).is_some() {
                return Err(unknown(node, format!("input {index} is not expected")));
            }
        }
        let zero_points = match self.walk.constant_if_given(node, 3)? {
            Some(floats) if floats.dtype().is_float() => {
                Some(self.walk.scales(node, 3, ValueCheck::Finite)?)
            }
            codes => codes,
        };
        let weight = MatMulNBits::unscanned(
            MatMulNBitsAttributes {
                in_features: size_attribute(node, "K")?,
                out_features: size_attribute(node, "N")?,
                bits: bits_of_codes(node)?,
                block_size: size_attribute(node, "block_size")?,
            },
            self.walk.need_constant(node, 1)?,
            self.walk.scales(node, 2, ValueCheck::Finite)?,
            zero_points,
        )?;
        Ok(LinearWeight::MatMulNBits(weight))
    }
}

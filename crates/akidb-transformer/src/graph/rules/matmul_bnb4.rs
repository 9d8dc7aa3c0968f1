//! `com.microsoft.MatMulBnb4` → its weight.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{attribute, expect_attributes, expect_int, size_attribute, unknown};
use crate::weights::{Bnb4QuantType, LinearWeight, MatMulBnb4, MatMulBnb4Attributes};

impl<'m> Recogniser<'m> {
    pub(in crate::graph) fn matmul_bnb4(&self, node: &'m NodeProto) -> Result<LinearWeight, Error> {
        const ATTRIBUTES: [&str; 6] = [
            "K",
            "N",
            "block_size",
            "quant_type",
            "training_mode",
            "transB",
        ];
        expect_attributes(node, &ATTRIBUTES)?;
        expect_int(node, "transB", 1, 1)?;
        let quant_type = match attribute(node, "quant_type").map(|a| a.i()) {
            Some(0) => Bnb4QuantType::Fp4,
            Some(1) => Bnb4QuantType::Nf4,
            other => {
                let why = format!("quant_type is {other:?}, neither FP4 nor NF4");
                return Err(unknown(node, why));
            }
        };
        let weight = MatMulBnb4::unscanned(
            MatMulBnb4Attributes {
                in_features: size_attribute(node, "K")?,
                out_features: size_attribute(node, "N")?,
                block_size: size_attribute(node, "block_size")?,
                quant_type,
            },
            self.walk.need_constant(node, 1)?,
            self.walk.scales(node, 2, MatMulBnb4::ABSMAX)?,
        )?;
        Ok(LinearWeight::MatMulBnb4(weight))
    }
}

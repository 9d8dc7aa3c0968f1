//! A linear layer, in floats or quantized.

use super::layers::Recogniser;
use super::walk::{
    MICROSOFT, attribute, expect_attributes, expect_int, input, int_attribute, need_input,
    size_attribute, unknown,
};
use crate::weights::scales::ValueCheck;
use crate::weights::{
    Bnb4QuantType, Linear, LinearWeight, MatMulBnb4, MatMulBnb4Attributes, MatMulInteger,
    MatMulNBits, MatMulNBitsAttributes,
};
use akidb_onnx::model::{is_op, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::{Error, shorten};

/// A `MatMulInteger` whose result is scaled back to floats.
struct IntegerProduct<'m> {
    product: &'m NodeProto,
    /// The product of both operands' scales.
    scales: &'m str,
}

impl<'m> Recogniser<'m> {
    /// True when [`Self::linear`] is to be asked about `value`.
    pub(super) fn is_linear(&self, value: &'m str) -> bool {
        let packed = self.split(value).and_then(|node| input(node, 0));
        let Ok(node) = self.walk.node(packed.unwrap_or(value), "") else {
            return false;
        };
        is_op(node, "", "MatMul")
            || is_op(node, MICROSOFT, "MatMulNBits")
            || is_op(node, MICROSOFT, "MatMulBnb4")
            || self.integer_product(node).is_some()
    }

    /// The linear layer that produces `value`, and the value that it takes.
    pub(super) fn linear(&self, value: &'m str) -> Result<(Linear, &'m str), Error> {
        let Some(split) = self.split(value) else {
            return self.whole_linear(value);
        };
        let (packed, input) = self.whole_linear(need_input(split, 0)?)?;
        let axis = int_attribute(split, "axis", 0);
        if axis != -1 && axis != 2 {
            return Err(unknown(split, format!("axis is {axis}, not the last")));
        }
        let sizes = self.walk.ints(split, 1)?;
        let value = self.walk.uncast(value);
        let index = split.output.iter().position(|output| output == value);
        let mut end = 0_usize;
        for (i, &size) in sizes.iter().enumerate() {
            let start = end;
            let size = usize::try_from(size).ok();
            end = size
                .and_then(|size| start.checked_add(size))
                .ok_or_else(|| {
                    let node = shorten(node_name(split));
                    Error::graph(format!("node {node:?} splits into {sizes:?}"))
                })?;
            if Some(i) == index {
                return Ok((packed.outputs(start..end)?, input));
            }
        }
        Err(unknown(split, format!("it splits into {sizes:?}")))
    }

    /// The `Split` that has `value` among its outputs.
    fn split(&self, value: &'m str) -> Option<&'m NodeProto> {
        let node = self.walk.model.producer(self.walk.uncast(value))?;
        is_op(node, "", "Split").then_some(node)
    }

    fn whole_linear(&self, value: &'m str) -> Result<(Linear, &'m str), Error> {
        let node = self.walk.node(value, "a linear layer is expected here")?;
        if let Some(found) = self.integer_product(node) {
            return self.matmul_integer(&found);
        }
        let weight = if is_op(node, "", "MatMul") {
            self.matmul_weight(node)?
        } else if is_op(node, MICROSOFT, "MatMulNBits") {
            self.matmul_nbits(node)?
        } else if is_op(node, MICROSOFT, "MatMulBnb4") {
            self.matmul_bnb4(node)?
        } else {
            return Err(unknown(node, "a linear layer is expected here"));
        };
        let input = self.walk.uncast(need_input(node, 0)?);
        Ok((Linear::new(weight)?, input))
    }

    fn matmul_nbits(&self, node: &'m NodeProto) -> Result<LinearWeight, Error> {
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
        let bits = match int_attribute(node, "bits", 4) {
            4 => 4,
            8 => 8,
            other => return Err(unknown(node, format!("bits is {other}, not 4 or 8"))),
        };
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
                bits,
                block_size: size_attribute(node, "block_size")?,
            },
            self.walk.need_constant(node, 1)?,
            self.walk.scales(node, 2, ValueCheck::Finite)?,
            zero_points,
        )?;
        Ok(LinearWeight::MatMulNBits(weight))
    }

    fn matmul_bnb4(&self, node: &'m NodeProto) -> Result<LinearWeight, Error> {
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

    /// `Mul(Cast(MatMulInteger(..)), scales)`.
    fn integer_product(&self, node: &'m NodeProto) -> Option<IntegerProduct<'m>> {
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
    fn matmul_integer(&self, found: &IntegerProduct<'m>) -> Result<(Linear, &'m str), Error> {
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

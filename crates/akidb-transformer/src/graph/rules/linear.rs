//! A product with a constant, or a part of its outputs → [`Linear`].

use akidb_onnx::model::{is_op, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::{Error, shorten};

use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{MICROSOFT, input, int_attribute, need_input, unknown};
use crate::weights::Linear;

impl<'m> Recogniser<'m> {
    /// True when [`Self::linear`] is to be asked about `value`.
    pub(in crate::graph) fn is_linear(&self, value: &'m str) -> bool {
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
    pub(in crate::graph) fn linear(&self, value: &'m str) -> Result<(Linear, &'m str), Error> {
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
}

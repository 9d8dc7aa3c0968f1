//! `RMSNormalization`, `SimplifiedLayerNormalization`, `SkipSimplifiedLayerNormalization` → [`Norm`].

use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use crate::graph::normal::{Norm, Stream};
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    MICROSOFT, attribute, expect_attributes, expect_int, input, need_input, unknown,
};

impl<'m> Recogniser<'m> {
    /// An RMSNorm, with or without the addition before it.
    pub(in crate::graph) fn norm(&mut self, value: &'m str) -> Result<Norm<'m>, Error> {
        let node = self.walk.node(value, "a norm is expected here")?;
        if is_op(node, MICROSOFT, "SkipSimplifiedLayerNormalization") {
            expect_attributes(node, &["epsilon"])?;
            if input(node, 3).is_some() {
                return Err(unknown(node, "a bias is not expected"));
            }
            self.node_epsilon(node, None)?;
            return Ok(Norm {
                node,
                weight: self.walk.weight(node, 2)?,
                input: Stream::Sum(node),
            });
        }
        let (weight, before) = self.simplified_norm(node)?;
        Ok(Norm {
            node,
            weight,
            input: self.stream(before),
        })
    }

    pub(in crate::graph) fn stream(&self, value: &'m str) -> Stream<'m> {
        let value = self.walk.uncast(value);
        match self.walk.model.producer(value) {
            Some(node) if is_op(node, "", "Add") => Stream::Sum(node),
            Some(node)
                if is_op(node, MICROSOFT, "SkipSimplifiedLayerNormalization")
                    && node.output.get(3).is_some_and(|sum| sum == value) =>
            {
                Stream::Sum(node)
            }
            _ => Stream::Value(value),
        }
    }

    /// Weight and input of a `SimplifiedLayerNormalization` or `RMSNormalization`.
    pub(in crate::graph) fn simplified_norm(
        &mut self,
        node: &'m NodeProto,
    ) -> Result<(Tensor, &'m str), Error> {
        let is_standard = is_op(node, "", "RMSNormalization");
        // A contrib operator, though it lives in ONNX's own domain.
        if !is_standard
            && !is_op(node, "", "SimplifiedLayerNormalization")
            && !is_op(node, MICROSOFT, "SimplifiedLayerNormalization")
        {
            return Err(unknown(node, "a norm is expected here"));
        }
        expect_attributes(node, &["axis", "epsilon", "stash_type"])?;
        expect_int(node, "axis", -1, -1)?;
        // Means are computed in f32.
        expect_int(node, "stash_type", 1, 1)?;
        self.node_epsilon(node, is_standard.then_some(1e-5))?;
        Ok((self.walk.weight(node, 1)?, need_input(node, 0)?))
    }

    /// The attribute `epsilon`, or `default`; see [`Self::epsilon`].
    fn node_epsilon(&mut self, node: &NodeProto, default: Option<f32>) -> Result<(), Error> {
        let epsilon = attribute(node, "epsilon").map(|a| a.f()).or(default);
        let epsilon = epsilon.ok_or_else(|| unknown(node, "it has no epsilon"))?;
        self.epsilon(node, epsilon)
    }
}

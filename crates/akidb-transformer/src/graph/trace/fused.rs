//! Operators that are whole parts of a model: of ONNX, and of ONNX Runtime.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use super::array::{Kind, broadcast};
use super::expr::{Expr, Id, Normed, Value};
use super::known;
use super::tracer::Tracer;
use crate::graph::walk::{attribute, int_attribute, unknown};
use crate::transformer::{Activation, NormKind};
use crate::weights::{Linear, LinearWeight};

pub(super) type Inputs = [Option<Value>];

impl<'m> Tracer<'m> {
    /// ONNX Runtime's own operators.
    pub(super) fn microsoft(
        &mut self,
        node: &'m NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        match node.op_type() {
            "MatMulNBits" => {
                let weight = self.recogniser.matmul_nbits(node)?;
                self.weight_product(node, inputs, weight)
            }
            "MatMulBnb4" => {
                let weight = self.recogniser.matmul_bnb4(node)?;
                self.weight_product(node, inputs, weight)
            }
            "SkipLayerNormalization" => {
                self.skip_layer_normalization(node, inputs, NormKind::Layer)
            }
            "SkipSimplifiedLayerNormalization" => {
                self.skip_layer_normalization(node, inputs, NormKind::Rms)
            }
            "SimplifiedLayerNormalization" => self.layer_normalization(node, inputs, NormKind::Rms),
            "RotaryEmbedding" => self.rotary_embedding(node, inputs),
            "QuickGelu" if attribute(node, "alpha").is_some_and(|a| a.f() == 1.0) => {
                self.biased_activation(node, inputs, Activation::Silu)
            }
            "BiasGelu" => self.biased_activation(node, inputs, Activation::GeluErf),
            "FastGelu" => self.biased_activation(node, inputs, Activation::GeluTanh),
            "Gelu" => self.biased_activation(node, inputs, Activation::GeluErf),
            "Attention" | "QAttention" => self.packed_attention(node, inputs),
            "MultiHeadAttention" => self.multi_head_attention(node, inputs),
            _ => Err(unknown(
                node,
                "it is no operator that an encoder is known to have",
            )),
        }
    }

    /// ONNX's operators that are whole parts of a model.
    pub(super) fn standard(
        &mut self,
        node: &'m NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        match node.op_type() {
            "LayerNormalization" => self.layer_normalization(node, inputs, NormKind::Layer),
            // The second is ONNX Runtime's, in ONNX's own domain.
            "RMSNormalization" | "SimplifiedLayerNormalization" => {
                self.layer_normalization(node, inputs, NormKind::Rms)
            }
            "RotaryEmbedding" => self.rotary_embedding(node, inputs),
            "Swish" if attribute(node, "alpha").is_none_or(|a| a.f() == 1.0) => {
                self.biased_activation(node, inputs, Activation::Silu)
            }
            "Gelu" => {
                let tanh = attribute(node, "approximate").is_some_and(|a| a.s() == b"tanh");
                let activation = if tanh {
                    Activation::GeluTanh
                } else {
                    Activation::GeluErf
                };
                self.biased_activation(node, inputs, activation)
            }
            _ => self.standard_attention(node, inputs),
        }
    }

    fn weight_product(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        weight: LinearWeight,
    ) -> Result<Vec<Value>, Error> {
        let x = need(node, inputs, 0)?;
        Ok(vec![self.multiply(node, x, Linear::new(weight)?)?])
    }

    fn layer_normalization(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        kind: NormKind,
    ) -> Result<Vec<Value>, Error> {
        let x = need(node, inputs, 0)?;
        let dims = self.dims_of(x).unwrap_or_default();
        let axis = known::axis(int_attribute(node, "axis", -1), dims.len());
        if axis.is_none_or(|axis| axis + 1 != dims.len()) {
            return Err(unknown(node, "it does not normalise each token's state"));
        }
        let id = self.whole(x).ok_or_else(|| not_whole(node))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| a.f());
        let bias = inputs.get(2).filter(|_| kind == NormKind::Layer);
        let weight = need(node, inputs, 1)?;
        let norm = self.norm_of(node, (id, dims), (kind, epsilon), weight, bias)?;
        Ok(vec![norm])
    }

    /// A norm with the constants that a fused operator has.
    fn norm_of(
        &mut self,
        node: &NodeProto,
        (x, dims): (Id, Vec<usize>),
        (kind, epsilon): (NormKind, f32),
        weight: &Value,
        bias: Option<&Option<Value>>,
    ) -> Result<Value, Error> {
        let width = dims.last().copied().unwrap_or_default();
        let constant = |value: &Value| {
            let tensor: Option<Tensor> = self.vector(value, width)?;
            tensor.ok_or_else(|| unknown(node, "its weights are no constants of a state's width"))
        };
        let normed = Normed {
            x,
            kind,
            epsilon: f64::from(epsilon),
            weight: Some(constant(weight)?),
            bias: bias
                .cloned()
                .flatten()
                .map(|bias| constant(&bias))
                .transpose()?,
        };
        Ok(self.put(Expr::Normed(normed), dims))
    }

    fn skip_layer_normalization(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        kind: NormKind,
    ) -> Result<Vec<Value>, Error> {
        let (x, skip) = (
            need(node, inputs, 0)?.clone(),
            need(node, inputs, 1)?.clone(),
        );
        // The norm's own bias is there in LayerNorm only.
        let (bias, of_branch) = match kind {
            NormKind::Layer => (inputs.get(3), 4),
            _ => (None, 3),
        };
        let sum = match inputs.get(of_branch).cloned().flatten() {
            Some(bias) => self.biased_branch(node, &x, &skip, &bias)?,
            None => self.sum_of(node, &x, &skip)?,
        };
        let dims = self.dims_of(&sum).unwrap_or_default();
        let id = self.whole(&sum).ok_or_else(|| not_whole(node))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-12, |a| a.f());
        let weight = need(node, inputs, 2)?;
        let norm = self.norm_of(node, (id, dims), (kind, epsilon), weight, bias)?;
        // Mean and deviation are for training.
        Ok(vec![norm, Value::Opaque, Value::Opaque, sum])
    }

    /// Branch and residual, and the bias of the linear layer that the branch ends in.
    fn biased_branch(
        &mut self,
        node: &NodeProto,
        x: &Value,
        skip: &Value,
        bias: &Value,
    ) -> Result<Value, Error> {
        for (branch, residual) in [(x, skip), (skip, x)] {
            let Some(id) = self.whole(branch) else {
                continue;
            };
            if let Expr::Linear { x, linear } = self.expr(id).clone()
                && linear.bias().is_none()
            {
                let linear = self.with_bias(node, linear, bias)?;
                let dims = self.dims_of(branch).unwrap_or_default();
                let branch = self.put(Expr::Linear { x, linear }, dims);
                return self.sum_of(node, &branch, residual);
            }
        }
        Err(unknown(node, "its bias is that of no linear layer"))
    }

    fn sum_of(&mut self, node: &NodeProto, a: &Value, b: &Value) -> Result<Value, Error> {
        let dims = |value: &Value| self.dims_of(value).unwrap_or_default();
        let dims = broadcast(&dims(a), &dims(b));
        match (self.whole(a), self.whole(b), dims) {
            (Some(a), Some(b), Some(dims)) => Ok(self.put(Expr::Sum(a, b), dims)),
            _ => Err(not_whole(node)),
        }
    }

    /// Tables, their sum, and its norm; each text's number of tokens.
    pub(super) fn embed_layer_normalization(
        &mut self,
        node: &'m NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        let ids = self.known(need(node, inputs, 0)?)?;
        let ids = ids.ok_or_else(|| unknown(node, "its tokens are not known"))?;
        let given = |i: usize| inputs.get(i).cloned().flatten();
        let zeros = Rc::new(ids.map(Kind::Int, |_| 0.0));
        let types = match given(1) {
            Some(types) => self.known(&types)?.unwrap_or(zeros),
            None => zeros,
        };
        let positions = match given(8) {
            Some(positions) => self.known(&positions)?,
            None => None,
        };
        let positions = positions.unwrap_or_else(|| Rc::new(self.sample.positions()));
        let mut sum: Option<Value> = None;
        for (i, index) in [(2, ids), (3, positions), (4, types)] {
            let Some(Value::Constant(table)) = given(i) else {
                continue;
            };
            if table.dims().len() != 2 {
                return Err(unknown(node, "a table has not two axes"));
            }
            let rows = self.table_rows(node, table, &index)?;
            sum = Some(match sum {
                Some(sum) => self.sum_of(node, &sum, &rows)?,
                None => rows,
            });
        }
        let sum = sum.ok_or_else(|| unknown(node, "it has no table"))?;
        let dims = self.dims_of(&sum).unwrap_or_default();
        let id = self.whole(&sum).ok_or_else(|| not_whole(node))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-12, |a| a.f());
        let weight = need(node, inputs, 5)?;
        let kind = (NormKind::Layer, epsilon);
        let norm = self.norm_of(node, (id, dims), kind, weight, inputs.get(6))?;
        let mask = match given(7) {
            Some(mask) => self.known(&mask)?,
            None => None,
        };
        let counts = mask.and_then(|mask| mask.reduce(&[1], false, 0.0, |a, b| a + b));
        let counts = counts.map_or(Value::Opaque, |counts| Value::Known(Rc::new(counts)));
        Ok(vec![norm, counts, sum])
    }

    fn biased_activation(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        activation: Activation,
    ) -> Result<Vec<Value>, Error> {
        let x = need(node, inputs, 0)?;
        let dims = self.dims_of(x).unwrap_or_default();
        let mut id = self.whole(x).ok_or_else(|| not_whole(node))?;
        if let Some(bias) = inputs.get(1).cloned().flatten() {
            let Expr::Linear { x, linear } = self.expr(id).clone() else {
                return Err(unknown(node, "its bias is that of no linear layer"));
            };
            if linear.bias().is_some() {
                return Err(unknown(node, "its linear layer has two biases"));
            }
            let linear = self.with_bias(node, linear, &bias)?;
            if let Value::Part(biased, _) = self.put(Expr::Linear { x, linear }, dims.clone()) {
                id = biased;
            }
        }
        Ok(vec![self.activated(id, activation, dims)])
    }
}

pub(super) fn need<'v>(node: &NodeProto, inputs: &'v Inputs, i: usize) -> Result<&'v Value, Error> {
    let value = inputs.get(i).and_then(Option::as_ref);
    value.ok_or_else(|| unknown(node, format!("input {i} is missing")))
}

pub(super) fn not_whole(node: &NodeProto) -> Error {
    unknown(node, "it does not take tokens' whole states")
}

//! Operators that are whole parts of a model: of ONNX, and of ONNX Runtime.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use super::array::{Array, Kind, broadcast};
use super::attention::HIDDEN;
use super::expr::{Expr, Id, Normed, Value};
use super::known;
use super::tracer::Tracer;
use crate::graph::walk::{attribute, expect_int, int_attribute, unknown};
use crate::transformer::{Activation, NormKind};
use crate::weights::{Linear, LinearWeight, MatMulInteger};

type Inputs = [Option<Value>];

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
            "SkipLayerNormalization" => self.skip_layer_normalization(node, inputs),
            "BiasGelu" => self.biased_gelu(node, inputs, Activation::GeluErf),
            "FastGelu" => self.biased_gelu(node, inputs, Activation::GeluTanh),
            "Gelu" => self.biased_gelu(node, inputs, Activation::GeluErf),
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
            "LayerNormalization" => self.layer_normalization(node, inputs),
            "Gelu" => {
                let tanh = attribute(node, "approximate").is_some_and(|a| a.s() == b"tanh");
                let activation = if tanh {
                    Activation::GeluTanh
                } else {
                    Activation::GeluErf
                };
                self.biased_gelu(node, inputs, activation)
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
    ) -> Result<Vec<Value>, Error> {
        let x = need(node, inputs, 0)?;
        let dims = self.dims_of(x).unwrap_or_default();
        let axis = known::axis(int_attribute(node, "axis", -1), dims.len());
        if axis.is_none_or(|axis| axis + 1 != dims.len()) {
            return Err(unknown(node, "it does not normalise each token's state"));
        }
        let id = self.whole(x).ok_or_else(|| not_whole(node))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| a.f());
        let norm = self.norm_of(
            node,
            id,
            dims,
            epsilon,
            [need(node, inputs, 1)?.clone()],
            inputs.get(2),
        )?;
        Ok(vec![norm])
    }

    /// A norm with the constants that a fused operator has.
    fn norm_of(
        &mut self,
        node: &NodeProto,
        x: Id,
        dims: Vec<usize>,
        epsilon: f32,
        [weight]: [Value; 1],
        bias: Option<&Option<Value>>,
    ) -> Result<Value, Error> {
        let width = dims.last().copied().unwrap_or_default();
        let constant = |value: &Value| {
            let tensor: Option<Tensor> = self.vector(value, width)?;
            tensor.ok_or_else(|| unknown(node, "its weights are no constants of a state's width"))
        };
        let normed = Normed {
            x,
            kind: NormKind::Layer,
            epsilon: f64::from(epsilon),
            weight: Some(constant(&weight)?),
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
    ) -> Result<Vec<Value>, Error> {
        let (x, skip) = (
            need(node, inputs, 0)?.clone(),
            need(node, inputs, 1)?.clone(),
        );
        let sum = match inputs.get(4).cloned().flatten() {
            Some(bias) => self.biased_branch(node, &x, &skip, &bias)?,
            None => self.sum_of(node, &x, &skip)?,
        };
        let dims = self.dims_of(&sum).unwrap_or_default();
        let id = self.whole(&sum).ok_or_else(|| not_whole(node))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-12, |a| a.f());
        let norm = self.norm_of(
            node,
            id,
            dims,
            epsilon,
            [need(node, inputs, 2)?.clone()],
            inputs.get(3),
        )?;
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
        let weight = need(node, inputs, 5)?.clone();
        let norm = self.norm_of(node, id, dims, epsilon, [weight], inputs.get(6))?;
        let mask = match given(7) {
            Some(mask) => self.known(&mask)?,
            None => None,
        };
        let counts = mask.and_then(|mask| mask.reduce(&[1], false, 0.0, |a, b| a + b));
        let counts = counts.map_or(Value::Opaque, |counts| Value::Known(Rc::new(counts)));
        Ok(vec![norm, counts, sum])
    }

    fn biased_gelu(
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

    /// `Attention` of ONNX Runtime: one weight for queries, keys and values.
    fn packed_attention(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Vec<Value>, Error> {
        let x = need(node, inputs, 0)?.clone();
        let quantized = node.op_type() == "QAttention";
        let (x, linear, mask_at) = match quantized {
            false => {
                let Some(Value::Constant(weight)) = inputs.get(1).cloned().flatten() else {
                    return Err(unknown(node, "its weight is no constant"));
                };
                (x, Linear::new(LinearWeight::InOut(weight))?, 3)
            }
            true => self.quantized_attention(node, inputs)?,
        };
        let linear = match inputs.get(2).cloned().flatten() {
            Some(bias) => self.with_bias(node, linear, &bias)?,
            None => linear,
        };
        expect_int(node, "unidirectional", 0, 0)?;
        expect_int(node, "do_rotary", 0, 0)?;
        if attribute(node, "qkv_hidden_sizes")
            .is_some_and(|a| a.ints.iter().any(|n| *n != a.ints[0]))
        {
            return Err(unknown(node, "queries, keys and values have other widths"));
        }
        // Behind a quantized layer's mask are its zero points.
        let further = if quantized { 8 } else { mask_at + 1 };
        let mut bias = None;
        for i in further..inputs.len() {
            match (inputs.get(i).cloned().flatten(), i) {
                (None, _) => {}
                (Some(value), 5) if !quantized => bias = self.known(&value)?,
                _ => return Err(unknown(node, format!("input {i} is not expected"))),
            }
        }
        let mask = self.padding_mask(node, inputs.get(mask_at))?;
        let mask = match (mask, bias) {
            (Some(mask), Some(bias)) => mask.zip(&bias, Kind::Float, |a, b| a + b).map(Rc::new),
            (mask, bias) => mask.or(bias),
        };
        let packed = self.multiply(node, &x, linear)?;
        let Value::Part(id, view) = packed else {
            return Err(not_whole(node));
        };
        let width = view.dims().last().copied().unwrap_or_default() / 3;
        let parts: Option<Vec<Value>> = (0..3)
            .map(|i| Some(Value::Part(id, view.slice(2, i * width, width)?)))
            .collect();
        let heads = usize::try_from(int_attribute(node, "num_heads", 0)).unwrap_or_default();
        match parts.as_deref() {
            Some([q, k, v]) => Ok(vec![self.heads(
                node,
                [q, k, v],
                heads,
                scale(node),
                (mask, None),
            )?]),
            _ => Err(not_whole(node)),
        }
    }

    /// Input and layer of a `QAttention`, and where its mask is.
    fn quantized_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<(Value, Linear, usize), Error> {
        let id = self.whole(need(node, inputs, 0)?);
        let Some(Expr::Quantized(x)) = id.map(|id| self.expr(id).clone()) else {
            return Err(unknown(node, "its input was not quantized at run time"));
        };
        let constant = |i: usize| match inputs.get(i).cloned().flatten() {
            Some(Value::Constant(tensor)) => Some(tensor),
            _ => None,
        };
        let (Some(codes), Some(scales)) = (constant(1), constant(4)) else {
            return Err(unknown(node, "its weight is no constant"));
        };
        MatMulInteger::SCALE.check(&scales)?;
        let weight = MatMulInteger::unscanned(codes, scales, constant(7))?;
        let linear = Linear::new(LinearWeight::MatMulInteger(weight))?;
        let dims = self.dims(x).to_vec();
        let view = super::view::View::whole(&dims);
        Ok((Value::Part(x, view), linear, 5))
    }

    fn multi_head_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        expect_int(node, "unidirectional", 0, 0)?;
        let mut parts = Vec::new();
        for i in 0..3 {
            parts.push(need(node, inputs, i)?.clone());
        }
        if let Some(bias) = inputs.get(3).cloned().flatten() {
            self.bias_parts(node, &mut parts, &bias)?;
        }
        if (6..inputs.len()).any(|i| inputs[i].is_some()) {
            return Err(unknown(node, "past keys and values are not expected"));
        }
        let padding = self.padding_mask(node, inputs.get(4))?;
        let added = inputs.get(5).cloned().flatten();
        let relative = added.as_ref().and_then(|added| self.relative_bias(added));
        let bias = match added {
            Some(_) if relative.is_some() => None,
            Some(bias) => {
                let known = self.known(&bias)?;
                Some(known.ok_or_else(|| unknown(node, "its bias is not known"))?)
            }
            None => None,
        };
        let mask = match (padding, bias) {
            (Some(mask), Some(bias)) => mask.zip(&bias, Kind::Float, |a, b| a + b).map(Rc::new),
            (mask, bias) => mask.or(bias),
        };
        let heads = usize::try_from(int_attribute(node, "num_heads", 0)).unwrap_or_default();
        match &parts[..] {
            [q, k, v] => Ok(vec![self.heads(
                node,
                [q, k, v],
                heads,
                scale(node),
                (mask, relative),
            )?]),
            _ => Err(not_whole(node)),
        }
    }

    /// Gives q, k and v their parts of one bias.
    fn bias_parts(
        &mut self,
        node: &NodeProto,
        parts: &mut [Value],
        bias: &Value,
    ) -> Result<(), Error> {
        let refused = || unknown(node, "its bias is that of no linear layers");
        let Value::Constant(bias) = bias else {
            return Err(refused());
        };
        let mut start = 0;
        for part in parts {
            let id = self.whole(part).ok_or_else(refused)?;
            let Expr::Linear { x, linear } = self.expr(id).clone() else {
                return Err(refused());
            };
            let width = linear.out_features();
            let size = bias.dtype().size();
            let end = start + width * size;
            if linear.bias().is_some() || !bias.dtype().is_float() || end > bias.data().len() {
                return Err(refused());
            }
            let data = bias.data().slice(start..end);
            let own = Tensor::new(bias.name(), bias.dtype(), vec![width], data)?;
            start = end;
            let dims = self.dims(id).to_vec();
            let linear = linear.with_bias(own)?;
            *part = self.put(Expr::Linear { x, linear }, dims);
        }
        Ok(())
    }

    /// `Attention` of ONNX's opset 23.
    fn standard_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        expect_int(node, "is_causal", 0, 0)?;
        if attribute(node, "softcap").is_some_and(|a| a.f() != 0.0)
            || (4..inputs.len()).any(|i| inputs[i].is_some())
        {
            return Err(unknown(
                node,
                "a soft cap, or past keys and values, are not expected",
            ));
        }
        let (q, k, v) = (
            need(node, inputs, 0)?,
            need(node, inputs, 1)?,
            need(node, inputs, 2)?,
        );
        let mask = match inputs.get(3).cloned().flatten() {
            Some(mask) => {
                let mask = self.known(&mask)?;
                let mask = mask.ok_or_else(|| unknown(node, "its mask is not known"))?;
                Some(match mask.kind {
                    Kind::Bool => Rc::new(mask.map(Kind::Float, |x| {
                        if x != 0.0 { 0.0 } else { f64::NEG_INFINITY }
                    })),
                    _ => mask,
                })
            }
            None => None,
        };
        let dims = self.dims_of(q).unwrap_or_default();
        if dims.len() == 3 {
            let heads = int_attribute(node, "q_num_heads", 0);
            let heads = usize::try_from(heads).unwrap_or_default();
            return Ok(vec![self.heads(
                node,
                [q, k, v],
                heads,
                scale(node),
                (mask, None),
            )?]);
        }
        let (Value::Part(q, query), Value::Part(k, key), Value::Part(v, value)) = (q, k, v) else {
            return Err(not_whole(node));
        };
        if dims.len() != 4 || key.dims() != dims || value.dims() != dims {
            return Err(unknown(
                node,
                "its keys and values have other axes than its queries",
            ));
        }
        let scores = super::expr::Scores {
            query: (*q, query.clone()),
            key: (*k, key.clone()),
            scale: scale(node).unwrap_or(1.0 / (dims[3] as f64).sqrt()),
            mask,
            bias: None,
        };
        let value = (*v, value.clone());
        let attended = super::expr::Attended { scores, value };
        Ok(vec![self.put(Expr::Attended(attended), dims)])
    }

    /// What a mask input of ONNX Runtime's operators adds to scores: of 1 for each token that there
    /// is, or of the number of tokens.
    fn padding_mask(
        &self,
        node: &NodeProto,
        mask: Option<&Option<Value>>,
    ) -> Result<Option<Rc<Array>>, Error> {
        let Some(mask) = mask.cloned().flatten() else {
            return Ok(None);
        };
        let mask = self
            .known(&mask)?
            .ok_or_else(|| unknown(node, "its mask is not known"))?;
        let tokens = self.sample.tokens;
        let lowest = |shown: bool| if shown { 0.0 } else { HIDDEN.mul_add(2.0, 0.0) };
        let by_key: Vec<f64> = match mask.dims[..] {
            [texts] if texts == self.sample.texts => {
                let of_text = |len: &f64| {
                    let len = *len;
                    (0..tokens).map(move |i| lowest((i as f64) < len))
                };
                mask.data.iter().flat_map(of_text).collect()
            }
            [_, keys] if keys == tokens => mask.data.iter().map(|x| lowest(*x != 0.0)).collect(),
            _ => return Err(unknown(node, format!("its mask has shape {:?}", mask.dims))),
        };
        let dims = vec![self.sample.texts, 1, 1, tokens];
        Ok(Array::new(Kind::Float, dims, by_key).map(Rc::new))
    }
}

fn need<'v>(node: &NodeProto, inputs: &'v Inputs, i: usize) -> Result<&'v Value, Error> {
    let value = inputs.get(i).and_then(Option::as_ref);
    value.ok_or_else(|| unknown(node, format!("input {i} is missing")))
}

fn scale(node: &NodeProto) -> Option<f64> {
    let scale = attribute(node, "scale").map(|a| f64::from(a.f()));
    scale.filter(|scale| *scale != 0.0)
}

fn not_whole(node: &NodeProto) -> Error {
    unknown(node, "it does not take tokens' whole states")
}

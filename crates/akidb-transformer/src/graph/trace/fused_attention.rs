//! Attention as one operator: of ONNX, and of ONNX Runtime.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use super::array::{Array, Kind};
use super::attention::HIDDEN;
use super::expr::{Expr, Value};
use super::fused::{Inputs, need, not_whole};
use super::tracer::Tracer;
use crate::graph::walk::{attribute, expect_int, int_attribute, unknown};
use crate::weights::{Linear, LinearWeight, MatMulInteger};

impl<'m> Tracer<'m> {
    /// `Attention` of ONNX Runtime: one weight for queries, keys and values.
    pub(super) fn packed_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
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
        let mask = both(node, mask, bias)?;
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
                [heads, heads],
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

    pub(super) fn multi_head_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
        let mut parts = Vec::new();
        for i in 0..3 {
            parts.push(need(node, inputs, i)?.clone());
        }
        if let Some(bias) = inputs.get(3).cloned().flatten() {
            self.bias_parts(node, &mut parts, &bias)?;
        }
        let is_past = |value: &Option<Value>| match value {
            // No tokens before these.
            Some(Value::Known(array)) => !array.data.is_empty(),
            other => other.is_some(),
        };
        if inputs.iter().skip(6).take(2).any(is_past) || inputs.iter().skip(8).any(Option::is_some)
        {
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
        let mask = both(node, padding, bias)?;
        let mask = both(node, mask, self.causal_mask(node, "unidirectional")?)?;
        let heads = usize::try_from(int_attribute(node, "num_heads", 0)).unwrap_or_default();
        match &parts[..] {
            [q, k, v] => Ok(vec![self.heads(
                node,
                [q, k, v],
                [heads, heads],
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
    pub(super) fn standard_attention(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Error> {
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
        let mask = both(node, mask, self.causal_mask(node, "is_causal")?)?;
        let dims = self.dims_of(q).unwrap_or_default();
        if dims.len() == 3 {
            let heads = |name| usize::try_from(int_attribute(node, name, 0)).unwrap_or_default();
            let heads = [heads("q_num_heads"), heads("kv_num_heads")];
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
        let [texts, heads, tokens, head_dim] = dims[..] else {
            return Err(unknown(node, "it takes no heads"));
        };
        let others = key.dims();
        let shares = |shared: usize| shared > 0 && heads.is_multiple_of(shared);
        let fits = others.get(1).copied().is_some_and(shares)
            && others == [texts, others[1], tokens, head_dim]
            && value.dims() == others;
        if !fits {
            return Err(unknown(
                node,
                "its keys and values have other axes than its queries",
            ));
        }
        let scores = super::expr::Scores {
            query: (*q, query.clone()),
            key: (*k, key.clone()),
            scale: scale(node).unwrap_or(1.0 / (head_dim as f64).sqrt()),
            mask,
            bias: None,
        };
        let value = (*v, value.clone());
        let attended = super::expr::Attended { scores, value };
        Ok(vec![self.put(Expr::Attended(attended), dims)])
    }

    /// What is added to scores where tokens don't see what is behind them, as `attribute` says.
    fn causal_mask(&self, node: &NodeProto, attribute: &str) -> Result<Option<Rc<Array>>, Error> {
        if int_attribute(node, attribute, 0) == 0 {
            return Ok(None);
        }
        let tokens = self.sample.tokens;
        let hidden = |place: usize| match place % tokens > place / tokens {
            true => f64::NEG_INFINITY,
            false => 0.0,
        };
        let data = (0..tokens * tokens).map(hidden).collect();
        mask_of(node, vec![1, 1, tokens, tokens], data).map(Some)
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
        let lowest = |shown: bool| if shown { 0.0 } else { 2.0 * HIDDEN };
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
        mask_of(node, vec![self.sample.texts, 1, 1, tokens], by_key).map(Some)
    }
}

/// What is added to scores.
fn mask_of(node: &NodeProto, dims: Vec<usize>, data: Vec<f64>) -> Result<Rc<Array>, Error> {
    let mask = Array::new(Kind::Float, dims, data);
    let mask = mask.ok_or_else(|| unknown(node, "its mask is not one of its texts"))?;
    Ok(Rc::new(mask))
}

/// What two masks add to scores together.
fn both(
    node: &NodeProto,
    a: Option<Rc<Array>>,
    b: Option<Rc<Array>>,
) -> Result<Option<Rc<Array>>, Error> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => {
            let sum = a.zip(&b, Kind::Float, |a, b| a + b);
            let sum = sum.ok_or_else(|| unknown(node, "its masks are of other texts"))?;
            Some(Rc::new(sum))
        }
        (a, b) => a.or(b),
    })
}

fn scale(node: &NodeProto) -> Option<f64> {
    let scale = attribute(node, "scale").map(|a| f64::from(a.f()));
    scale.filter(|scale| *scale != 0.0)
}

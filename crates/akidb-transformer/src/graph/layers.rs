//! The residual stream, from the last hidden state back to the embedding table.

use std::ptr;

use super::attention::{Attention, Heads, Mask};
use super::walk::{
    MICROSOFT, Walk, attribute, expect_attributes, expect_int, input, need_input, not_recognised,
    unknown,
};
use crate::config::MAX_LAYERS;
use crate::transformer::{self, Activation, Block, BranchNorms, NormKind};
use crate::weights::{EmbeddingTable, Linear};
use akidb_onnx::model::{OnnxModel, is_op, node_name};
use akidb_onnx::proto::{NodeProto, ValueInfoProto, tensor_proto, type_proto};
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

/// The tables of cosines and of sines: each the input of a node.
pub(super) type RotaryTables<'m> = [(&'m NodeProto, usize); 2];

pub(super) struct Recogniser<'m> {
    pub(super) walk: Walk<'m>,
    rms_norm_eps: Option<f32>,
    /// The first node seen that rotates.
    pub(super) rotary: Option<(&'m NodeProto, RotaryTables<'m>)>,
    /// Those of the first attention seen.
    pub(super) heads: Option<Heads>,
    /// Of the first attention seen.
    pub(super) mask: Option<Mask<'m>>,
}

/// All that the edges tell; shapes are not yet compared.
pub(super) struct Found<'m> {
    pub(super) embed_tokens: EmbeddingTable,
    /// First block first; without rotary embeddings, whose tables are below.
    pub(super) blocks: Vec<Block>,
    pub(super) final_norm: transformer::Norm,
    pub(super) head_dim: usize,
    pub(super) rotary: &'m NodeProto,
    pub(super) cos_cache: Tensor,
    pub(super) sin_cache: Tensor,
}

/// The residual stream at one point.
#[derive(Clone, Copy)]
enum Stream<'m> {
    /// The sum of the first two inputs of an `Add` or `SkipSimplifiedLayerNormalization`.
    Sum(&'m NodeProto),
    /// Anything else.
    Value(&'m str),
}

struct Norm<'m> {
    node: &'m NodeProto,
    weight: Tensor,
    input: Stream<'m>,
}

struct Mlp<'m> {
    input: &'m str,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl<'m> Recogniser<'m> {
    pub(super) fn new(model: &'m OnnxModel) -> Self {
        Self {
            walk: Walk::new(model),
            rms_norm_eps: None,
            rotary: None,
            heads: None,
            mask: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Found<'m>, Error> {
        let last = self.norm(self.hidden_state()?)?;
        let mut stream = last.input;
        let mut blocks = Vec::new();
        let embed_tokens = loop {
            let Stream::Sum(sum) = stream else {
                break self.embedding(stream)?;
            };
            if blocks.len() == MAX_LAYERS {
                return Err(unknown(sum, format!("more than {MAX_LAYERS} layers")));
            }
            let (before_mlp, mlp) = self.terms(sum)?;
            let mlp = self.mlp(mlp)?;
            let post = self.norm(mlp.input)?;
            let sum = self.residual(&post, before_mlp)?;
            let Stream::Sum(sum) = sum else {
                return Err(unknown(post.node, "no attention comes before this MLP"));
            };
            let (before_attention, attention) = self.terms(sum)?;
            let attention = self.attention(attention)?;
            let pre = self.norm(attention.input)?;
            stream = self.residual(&pre, before_attention)?;
            blocks.push(Block {
                attention: self.attention_data(attention),
                attention_norms: self.norm_before(pre.weight),
                mlp: transformer::Mlp {
                    gate: Some(mlp.gate_proj),
                    up: mlp.up_proj,
                    down: mlp.down_proj,
                    activation: Activation::Silu,
                },
                mlp_norms: self.norm_before(post.weight),
            });
        };
        blocks.reverse();
        let (Some(heads), Some((rotary, tables))) = (self.heads, self.rotary) else {
            return Err(unknown(last.node, "no layer comes before the final norm"));
        };
        let [(cos_node, cos), (sin_node, sin)] = tables;
        Ok(Found {
            embed_tokens,
            blocks,
            final_norm: self.rms_norm(last.weight),
            head_dim: heads.head_dim,
            rotary,
            cos_cache: self.walk.weight(cos_node, cos)?,
            sin_cache: self.walk.weight(sin_node, sin)?,
        })
    }

    fn attention_data(&self, found: Attention<'m>) -> transformer::Attention {
        let heads = self.heads.unwrap_or_default();
        transformer::Attention {
            query: found.q_proj,
            key: found.k_proj,
            value: found.v_proj,
            output: found.o_proj,
            query_norm: Some(self.rms_norm(found.q_norm)),
            key_norm: Some(self.rms_norm(found.k_norm)),
            heads: heads.num_attention_heads,
            key_value_heads: heads.num_key_value_heads,
            head_dim: heads.head_dim,
            // Another one is refused.
            scale: 1.0 / (heads.head_dim as f32).sqrt(),
            rotary: None,
            // So are other masks.
            mask: transformer::Mask::Causal,
        }
    }

    fn norm_before(&self, weight: Tensor) -> BranchNorms {
        BranchNorms {
            before: Some(self.rms_norm(weight)),
            ..BranchNorms::default()
        }
    }

    /// A norm with the epsilon that all have.
    fn rms_norm(&self, weight: Tensor) -> transformer::Norm {
        transformer::Norm {
            kind: NormKind::Rms,
            weight,
            bias: None,
            epsilon: self.rms_norm_eps.unwrap_or_default(),
        }
    }

    /// The output that is the last hidden state.
    fn hidden_state(&self) -> Result<&'m str, Error> {
        let outputs = self.walk.model.outputs();
        let named = |name: &str| outputs.iter().find(|o| o.name() == name);
        if let Some(output) = named("last_hidden_state").or_else(|| named("hidden_states")) {
            return Ok(output.name());
        }
        let mut floats = outputs
            .iter()
            .filter(|o| is_float(o) && !o.name().starts_with("present"));
        match (floats.next(), floats.next()) {
            (Some(only), None) => Ok(only.name()),
            (first, _) => Err(not_recognised(
                first.map_or("", |o| o.name()),
                "graph output",
                "no output is named last_hidden_state, nor is just one a float",
            )),
        }
    }

    /// The embedding table, when `stream` is a lookup of `input_ids` in it.
    fn embedding(&self, stream: Stream<'m>) -> Result<EmbeddingTable, Error> {
        let value = match stream {
            Stream::Value(value) => value,
            Stream::Sum(node) => return Err(unknown(node, "an embedding table is expected")),
        };
        let dequantize = self.walk.op_if(value, "", "DequantizeLinear");
        let value = match dequantize {
            Some(node) => need_input(node, 0)?,
            None => value,
        };
        let gather = self.walk.op(value, "", "Gather", "embedding tokens")?;
        expect_int(gather, "axis", 0, 0)?;
        let ids = need_input(gather, 1)?;
        if !(ids == "input_ids" && self.walk.model.is_input(ids)) {
            return Err(unknown(gather, "it does not look up the input input_ids"));
        }
        let Some(node) = dequantize else {
            return EmbeddingTable::new(self.walk.weight(gather, 0)?);
        };
        let scale = self.walk.weight(node, 1)?;
        if scale.len() != 1 {
            let why = format!("scales of shape {:?}, one is expected", scale.dims());
            return Err(unknown(node, why));
        }
        let codes = self.walk.need_constant(gather, 0)?;
        let zero_point = self.walk.constant_if_given(node, 2)?;
        EmbeddingTable::quantized(codes, &scale, zero_point.as_ref())
    }

    /// What a sum adds: the residual, and the branch that ends in a linear layer.
    fn terms(&self, sum: &'m NodeProto) -> Result<(&'m str, &'m str), Error> {
        let (a, b) = (need_input(sum, 0)?, need_input(sum, 1)?);
        match (self.is_linear(a), self.is_linear(b)) {
            (false, true) => Ok((a, b)),
            (true, false) => Ok((b, a)),
            (true, true) => Err(unknown(sum, "both inputs come from linear layers")),
            // Writers put the branch second: say what is there instead.
            (false, false) => Err(self.linear(b).err().unwrap_or_else(|| unknown(sum, ""))),
        }
    }

    /// The stream that `norm` reads, which must be the one that `residual` carries on.
    fn residual(&self, norm: &Norm<'m>, residual: &'m str) -> Result<Stream<'m>, Error> {
        let same = match (norm.input, self.stream(residual)) {
            (Stream::Sum(a), Stream::Sum(b)) => ptr::eq(a, b),
            (Stream::Value(a), Stream::Value(b)) => a == b,
            _ => false,
        };
        if same {
            Ok(norm.input)
        } else {
            let why = format!("it does not read the residual {:?}", shorten(residual));
            Err(unknown(norm.node, why))
        }
    }

    fn stream(&self, value: &'m str) -> Stream<'m> {
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

    /// An RMSNorm, with or without the addition before it.
    fn norm(&mut self, value: &'m str) -> Result<Norm<'m>, Error> {
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

    /// Weight and input of a `SimplifiedLayerNormalization` or `RMSNormalization`.
    pub(super) fn simplified_norm(
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

    /// All norms must have the same epsilon.
    pub(super) fn epsilon(&mut self, node: &NodeProto, epsilon: f32) -> Result<(), Error> {
        let name = shorten(node_name(node));
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(Error::graph(format!("node {name:?}: epsilon is {epsilon}")));
        }
        let first = *self.rms_norm_eps.get_or_insert(epsilon);
        if epsilon == first {
            Ok(())
        } else {
            let why = format!("epsilon is {epsilon}, elsewhere {first}");
            Err(unknown(node, why))
        }
    }

    /// `down(silu(gate(x)) * up(x))`.
    fn mlp(&self, value: &'m str) -> Result<Mlp<'m>, Error> {
        let (down_proj, product) = self.linear(value)?;
        let product = self.walk.op(product, "", "Mul", "gate times up")?;
        let (a, b) = (need_input(product, 0)?, need_input(product, 1)?);
        let (gate, up) = match (self.is_linear(a), self.is_linear(b)) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => return Err(unknown(product, "gate times up is expected")),
        };
        let silu = self.walk.op(gate, "", "Mul", "silu(gate)")?;
        let (a, b) = (need_input(silu, 0)?, need_input(silu, 1)?);
        let (gate, sigmoid) = if self.is_linear(a) { (a, b) } else { (b, a) };
        let sigmoid = self.walk.op(sigmoid, "", "Sigmoid", "silu(gate)")?;
        if self.walk.uncast(need_input(sigmoid, 0)?) != self.walk.uncast(gate) {
            return Err(unknown(sigmoid, "it is not of the value it multiplies"));
        }
        let (gate_proj, gate_input) = self.linear(gate)?;
        let (up_proj, up_input) = self.linear(up)?;
        if gate_input != up_input {
            return Err(unknown(
                product,
                "gate and up are not made of the same value",
            ));
        }
        Ok(Mlp {
            input: gate_input,
            gate_proj,
            up_proj,
            down_proj,
        })
    }
}

fn is_float(output: &ValueInfoProto) -> bool {
    use tensor_proto::DataType::{Bfloat16, Float, Float16};
    match output.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => [Float, Float16, Bfloat16]
            .iter()
            .any(|&t| tensor.elem_type() == t as i32),
        _ => false,
    }
}

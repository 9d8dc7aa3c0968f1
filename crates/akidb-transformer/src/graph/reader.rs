//! The residual stream, from the last hidden state back to the embedding table.

use std::ptr;

use super::heads::Layout;
use super::normal::{self, Norm, Stream};
use super::recogniser::Recogniser;
use super::walk::{MICROSOFT, need_input, not_recognised, unknown};
use crate::config::MAX_LAYERS;
use crate::transformer::{self, Activation, Block, BranchNorms, NormKind};
use crate::weights::{EmbeddingTable, Linear};
use akidb_onnx::model::is_op;
use akidb_onnx::proto::{NodeProto, ValueInfoProto, tensor_proto, type_proto};
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

/// What the output is called that holds a number for each label, or each token of the vocabulary.
const LOGITS: &str = "logits";

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

impl<'m> Recogniser<'m> {
    pub(super) fn run(mut self) -> Result<Found<'m>, Error> {
        let last = self.norm(self.last_hidden_state()?)?;
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
            let mlp = self.gated_mlp(mlp)?;
            let post = self.norm(mlp.input)?;
            let sum = self.residual(&post, before_mlp)?;
            let Stream::Sum(sum) = sum else {
                return Err(unknown(post.node, "no attention comes before this MLP"));
            };
            let (before_attention, attention) = self.terms(sum)?;
            let (attention, output) = self.attention(attention)?;
            let pre = self.norm(attention.query.input)?;
            stream = self.residual(&pre, before_attention)?;
            blocks.push(Block {
                attention: self.attention_data(attention, output),
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

    /// Attention in the normal form, and the linear layer behind it.
    fn attention(&mut self, value: &'m str) -> Result<(normal::Attention<'m>, Linear), Error> {
        let (output, attended) = self.linear(value)?;
        let relaid = self.walk.other_layout(attended, Layout::Tokens);
        let attention = match &relaid {
            Some(relaid) => {
                let node = self.walk.op(relaid.value, "", "Attention", "attention")?;
                self.standard_attention(node, Layout::Heads)?
            }
            None => {
                let node = self.walk.node(attended, "attention is expected here")?;
                if is_op(node, "", "Attention") {
                    self.standard_attention(node, Layout::Tokens)?
                } else if is_op(node, MICROSOFT, "MultiHeadAttention") {
                    self.multi_head_attention(node)?
                } else if is_op(node, MICROSOFT, "GroupQueryAttention") {
                    self.group_query_attention(node)?
                } else {
                    return Err(unknown(node, "attention is expected here"));
                }
            }
        };
        let (node, query) = (attention.node, &attention.query);
        if attention.key.input != query.input || attention.value_input != query.input {
            return Err(unknown(node, "q, k and v are not made of the same value"));
        }
        self.same_heads(node, attention.heads)?;
        if let Some(relaid) = relaid {
            let head_dim = query.head_dim();
            let heads = output.in_features() / head_dim.max(1);
            let layout = Layout::Tokens;
            self.walk.check_relaid(&relaid, layout, heads, head_dim)?;
        }
        Ok((attention, output))
    }

    fn attention_data(
        &self,
        found: normal::Attention<'m>,
        output: Linear,
    ) -> transformer::Attention {
        let heads = found.heads;
        transformer::Attention {
            query: found.query.proj,
            key: found.key.proj,
            value: found.value,
            output,
            query_norm: Some(self.rms_norm(found.query.norm)),
            key_norm: Some(self.rms_norm(found.key.norm)),
            heads: heads.num_attention_heads,
            key_value_heads: heads.num_key_value_heads,
            head_dim: heads.head_dim,
            // Another one is refused.
            scale: 1.0 / (heads.head_dim as f32).sqrt(),
            rotary: None,
            // So are other masks.
            mask: transformer::Mask::Causal,
            relative_bias: None,
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

    /// The layer that makes logits of the last hidden state, where the graph ends in one.
    pub(super) fn logits(&self) -> Result<Option<(Linear, &'m str)>, Error> {
        let mut outputs = self.walk.model.outputs().iter();
        let logits = outputs.find(|output| output.name() == LOGITS);
        logits.map(|output| self.linear(output.name())).transpose()
    }

    /// The last hidden state: an output, or what the logits are made of.
    pub(super) fn last_hidden_state(&self) -> Result<&'m str, Error> {
        let output = self.hidden_state()?;
        match output {
            LOGITS => Ok(self.linear(output)?.1),
            _ => Ok(output),
        }
    }

    /// The output that is the last hidden state.
    pub(super) fn hidden_state(&self) -> Result<&'m str, Error> {
        let outputs = self.walk.model.outputs();
        let named = |name: &str| outputs.iter().find(|o| o.name() == name);
        // The last is what sentence-transformers' exporters call it.
        let names = ["last_hidden_state", "hidden_states", "token_embeddings"];
        if let Some(output) = names.into_iter().find_map(named) {
            return Ok(output.name());
        }
        self.only_float("last_hidden_state")
    }

    /// The output that is a text's scores, or its logits.
    pub(super) fn scores(&self) -> Result<&'m str, Error> {
        let mut outputs = self.walk.model.outputs().iter();
        match outputs.find(|output| output.name() == LOGITS) {
            Some(output) => Ok(output.name()),
            None => self.only_float(LOGITS),
        }
    }

    fn only_float(&self, wanted: &str) -> Result<&'m str, Error> {
        let mut floats = (self.walk.model.outputs().iter())
            .filter(|o| is_float(o) && !o.name().starts_with("present"));
        match (floats.next(), floats.next()) {
            (Some(only), None) => Ok(only.name()),
            (first, _) => Err(not_recognised(
                first.map_or("", |o| o.name()),
                "graph output",
                format!("no output is named {wanted}, nor is just one a float"),
            )),
        }
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

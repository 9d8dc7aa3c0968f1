//! One layer's attention, from the value that `o_proj` makes.

use super::heads::{Layout, check_swap};
use super::layers::Recogniser;
use super::mask::check_mask;
use super::walk::{
    MICROSOFT, attribute, expect_attributes, input, int_attribute, need_input, unknown,
};
use crate::weights::Linear;
use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

/// Weights and sizes of one attention block, and the value that it works on.
pub(super) struct Attention<'m> {
    pub(super) input: &'m str,
    pub(super) q_proj: Linear,
    pub(super) k_proj: Linear,
    pub(super) v_proj: Linear,
    pub(super) o_proj: Linear,
    pub(super) q_norm: Tensor,
    pub(super) k_norm: Tensor,
}

/// The numbers that all layers must agree on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
}

/// What decides to which tokens a token attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask<'m> {
    /// Of `MultiHeadAttention` and `Attention`: the mask, and if they are causal without one.
    Bias(Option<&'m str>, bool),
    /// Of `GroupQueryAttention`, which is always causal: `seqlens_k` and
    /// `total_sequence_length`.
    Lengths(&'m str, &'m str),
}

/// Heads before the repetition of keys or values, and width of all heads after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    heads: usize,
    width: usize,
}

impl Repeat {
    /// The one that gives each query head its own key.
    pub(super) fn of(heads: Heads) -> Self {
        Self {
            heads: heads.num_key_value_heads,
            width: heads.num_attention_heads.saturating_mul(heads.head_dim),
        }
    }
}

impl<'m> Recogniser<'m> {
    pub(super) fn attention(&mut self, value: &'m str) -> Result<Attention<'m>, Error> {
        let (o_proj, attended) = self.linear(value)?;
        let relaid = self.walk.other_layout(attended, Layout::Tokens);
        if let Some(relaid) = relaid {
            return self.attention_of_heads(&relaid, o_proj);
        }
        let node = self.walk.node(attended, "attention is expected here")?;
        if is_op(node, "", "Attention") {
            self.standard_attention(node, Layout::Tokens, o_proj)
        } else if is_op(node, MICROSOFT, "MultiHeadAttention") {
            self.multi_head_attention(node, o_proj)
        } else if is_op(node, MICROSOFT, "GroupQueryAttention") {
            self.group_query_attention(node, o_proj)
        } else {
            Err(unknown(node, "attention is expected here"))
        }
    }

    /// `com.microsoft.MultiHeadAttention` over keys and values repeated for each query head.
    fn multi_head_attention(
        &mut self,
        node: &'m NodeProto,
        o_proj: Linear,
    ) -> Result<Attention<'m>, Error> {
        const ATTRIBUTES: [&str; 4] = ["mask_filter_value", "num_heads", "scale", "unidirectional"];
        expect_attributes(node, &ATTRIBUTES)?;
        let (keys, key_repeat) = self.unrepeat(need_input(node, 1)?)?;
        let (values, value_repeat) = self.unrepeat(need_input(node, 2)?)?;
        let q = self.rotated(need_input(node, 0)?, Layout::Tokens)?;
        let k = self.rotated(keys, Layout::Tokens)?;
        let (v_proj, v_input) = self.linear(values)?;
        if k.input != q.input || v_input != q.input {
            return Err(unknown(node, "q, k and v are not made of the same value"));
        }

        let num_attention_heads = int_attribute(node, "num_heads", 0);
        let heads = Heads {
            num_attention_heads: usize::try_from(num_attention_heads).unwrap_or(0),
            num_key_value_heads: k.heads(),
            head_dim: q.head_dim(),
        };
        let differ = heads.num_attention_heads != heads.num_key_value_heads;
        for repeat in [key_repeat, value_repeat] {
            // Without repetition, ONNX Runtime takes every query head to have its own key.
            if repeat.map_or(differ, |repeat| repeat != Repeat::of(heads)) {
                let why = format!("its keys and values are repeated as {repeat:?} for {heads:?}");
                return Err(unknown(node, why));
            }
        }
        self.same_heads(node, heads)?;
        check_contrib_scale(node, heads.head_dim)?;
        self.check_inputs(node)?;
        Ok(Attention {
            input: q.input,
            q_proj: q.proj,
            k_proj: k.proj,
            v_proj,
            o_proj,
            q_norm: q.norm,
            k_norm: k.norm,
        })
    }

    /// All layers must have the same heads.
    pub(super) fn same_heads(&mut self, node: &'m NodeProto, heads: Heads) -> Result<(), Error> {
        let first = *self.heads.get_or_insert(heads);
        if heads == first {
            Ok(())
        } else {
            Err(unknown(node, format!("{heads:?}, elsewhere {first:?}")))
        }
    }

    /// All layers must have the same mask. True when it was looked at already.
    pub(super) fn same_mask(&mut self, node: &'m NodeProto, mask: Mask<'m>) -> Result<bool, Error> {
        match self.mask {
            Some(first) if first == mask => Ok(true),
            Some(_) => Err(unknown(node, "another mask than elsewhere")),
            None => {
                self.mask = Some(mask);
                Ok(false)
            }
        }
    }

    /// Inputs besides queries, keys and values.
    fn check_inputs(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        const MASK: usize = 5;
        const PAST: [usize; 2] = [6, 7];
        for index in 3..node.input.len() {
            match input(node, index) {
                None => {}
                Some(_) if index == MASK => {}
                Some(past) if PAST.contains(&index) && self.walk.model.is_input(past) => {}
                Some(_) => return Err(unknown(node, format!("input {index} is not expected"))),
            }
        }
        let mask = input(node, MASK);
        let unidirectional = int_attribute(node, "unidirectional", 0) != 0;
        if self.same_mask(node, Mask::Bias(mask, unidirectional))? {
            return Ok(());
        }
        match mask {
            Some(mask) => check_mask(&self.walk, node, mask, !unidirectional),
            None if unidirectional => Ok(()),
            None => Err(unknown(node, "it has no mask and is not causal")),
        }
    }

    /// Undoes the repetition of keys or values for each query head, if there is one; gives the
    /// value before it.
    ///
    /// Reshape(Transpose(Reshape(Expand(Unsqueeze(Concat(past, Transpose(Reshape(x)))))))), from
    /// `[batch, seq, kv_heads * head_dim]` over `[batch, kv_heads, groups, total, head_dim]` to
    /// `[batch, total, heads * head_dim]`.
    pub(super) fn unrepeat(&self, value: &'m str) -> Result<(&'m str, Option<Repeat>), Error> {
        let walk = &self.walk;
        let Some(joined) = walk.op_if(value, "", "Reshape") else {
            return Ok((value, None));
        };
        let why = "repeating keys and values";
        let to_seq = walk.op(need_input(joined, 0)?, "", "Transpose", why)?;
        let Some(merged) = walk.op_if(need_input(to_seq, 0)?, "", "Reshape") else {
            return Ok((value, None));
        };
        check_swap(to_seq)?;
        let expand = walk.op(need_input(merged, 0)?, "", "Expand", why)?;
        let unsqueeze = walk.op(need_input(expand, 0)?, "", "Unsqueeze", why)?;
        let axes = walk.ints(unsqueeze, 1)?;
        if axes != [2] {
            // Along axis 1 the heads would come in another order.
            return Err(unknown(unsqueeze, format!("axes are {axes:?}, not [2]")));
        }
        let new = walk.without_past(need_input(unsqueeze, 0)?)?;
        let to_heads = walk.op(new, "", "Transpose", why)?;
        check_swap(to_heads)?;
        let split = walk.op(need_input(to_heads, 0)?, "", "Reshape", why)?;
        let heads = match walk.ints(split, 1)?.as_slice() {
            &[_, _, heads, _] => heads,
            other => {
                let why = format!("it reshapes to {other:?}, not to heads");
                return Err(unknown(split, why));
            }
        };
        let width = walk.ints(joined, 1)?.last().copied();
        let repeat = Repeat {
            heads: usize::try_from(heads).unwrap_or(0),
            width: usize::try_from(width.unwrap_or(0)).unwrap_or(0),
        };
        Ok((need_input(split, 0)?, Some(repeat)))
    }
}

/// The `scale` of ONNX Runtime's operators, where 0 means the usual one.
pub(super) fn check_contrib_scale(node: &NodeProto, head_dim: usize) -> Result<(), Error> {
    let scale = attribute(node, "scale").map(|a| a.f());
    check_scale(node, scale.filter(|&scale| scale != 0.0), head_dim)
}

/// Refuses a scale that is not the usual one.
pub(super) fn check_scale(
    node: &NodeProto,
    scale: Option<f32>,
    head_dim: usize,
) -> Result<(), Error> {
    let usual = 1.0 / (head_dim as f32).sqrt();
    let scale = scale.unwrap_or(usual);
    // Not `>`: NaN is refused.
    if (scale - usual).abs() <= 1e-3 * usual {
        Ok(())
    } else {
        let why = format!("scale is {scale}, not {usual} for heads {head_dim} wide");
        Err(unknown(node, why))
    }
}

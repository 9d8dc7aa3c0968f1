//! One layer's attention, from the value that `o_proj` makes.

use super::layers::Recogniser;
use super::mask::check_mask;
use super::walk::{MICROSOFT, attribute, expect_int, input, int_attribute, need_input, unknown};
use crate::decoder::Linear;
use crate::error::{Error, shorten};
use crate::model::{is_op, node_name};
use crate::proto::NodeProto;
use crate::tensor::Tensor;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
}

/// What decides to which tokens a token attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask<'m> {
    /// Of `MultiHeadAttention`: its mask, and if it is causal without one.
    Bias(Option<&'m str>, bool),
    /// Of `GroupQueryAttention`, which is always causal: `seqlens_k` and
    /// `total_sequence_length`.
    Lengths(&'m str, &'m str),
}

/// Heads before the repetition of keys or values, and width of all heads after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Repeat {
    heads: usize,
    width: usize,
}

/// A projection whose heads are normalised.
pub(super) struct Projection<'m> {
    pub(super) input: &'m str,
    pub(super) proj: Linear,
    pub(super) norm: Tensor,
}

impl<'m> Recogniser<'m> {
    pub(super) fn attention(&mut self, value: &'m str) -> Result<Attention<'m>, Error> {
        let (o_proj, attended) = self.linear(value)?;
        let node = self.walk.node(attended, "attention is expected here")?;
        if is_op(node, MICROSOFT, "MultiHeadAttention") {
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
        let (keys, key_repeat) = self.unrepeat(need_input(node, 1)?)?;
        let (values, value_repeat) = self.unrepeat(need_input(node, 2)?)?;
        let q = self.rotated(need_input(node, 0)?)?;
        let k = self.rotated(keys)?;
        let (v_proj, v_input) = self.linear(values)?;
        if k.input != q.input || v_input != q.input {
            return Err(unknown(node, "q, k and v are not made of the same value"));
        }

        let head_dim = q.norm.len();
        let num_attention_heads = int_attribute(node, "num_heads", 0);
        let num_attention_heads = usize::try_from(num_attention_heads).unwrap_or(0);
        let num_key_value_heads = k.proj.out_features() / head_dim.max(1);
        let heads = Heads {
            num_attention_heads,
            num_key_value_heads,
            head_dim,
        };
        let usual = Repeat {
            heads: num_key_value_heads,
            width: num_attention_heads.saturating_mul(head_dim),
        };
        for repeat in [key_repeat, value_repeat] {
            // Without repetition, ONNX Runtime takes every query head to have its own key.
            if repeat.map_or(num_attention_heads != num_key_value_heads, |r| r != usual) {
                let why = format!("its keys and values are repeated as {repeat:?} for {heads:?}");
                return Err(unknown(node, why));
            }
        }
        self.same_heads(node, heads)?;
        check_scale(node, head_dim)?;
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

    /// `RotaryEmbedding` of [`Self::normed`].
    pub(super) fn rotated(&mut self, value: &'m str) -> Result<Projection<'m>, Error> {
        let rotary = self.walk.op(
            value,
            MICROSOFT,
            "RotaryEmbedding",
            "rotated queries and keys",
        )?;
        expect_int(rotary, "interleaved", 0, 0)?;
        expect_int(rotary, "is_packed_batching", 0, 0)?;
        if attribute(rotary, "scale").is_some_and(|a| a.f() != 1.0) {
            return Err(unknown(rotary, "scale is not 1"));
        }
        let positions = need_input(rotary, 1)?;
        if !(positions == "position_ids" && self.walk.model.is_input(positions)) {
            return Err(unknown(
                rotary,
                "its positions are not the input position_ids",
            ));
        }

        let normed = self.normed(need_input(rotary, 0)?)?;
        let head_dim = normed.norm.len();
        let dim = int_attribute(rotary, "rotary_embedding_dim", 0);
        if dim != 0 && usize::try_from(dim) != Ok(head_dim) {
            return Err(unknown(
                rotary,
                format!("rotary_embedding_dim is {dim} of {head_dim}"),
            ));
        }
        self.use_rotary_cache(rotary, 2)?;
        Ok(normed)
    }

    /// `Reshape(norm(Reshape(x · W)))`.
    pub(super) fn normed(&mut self, value: &'m str) -> Result<Projection<'m>, Error> {
        let joined = self
            .walk
            .op(value, "", "Reshape", "putting heads together again")?;
        let norm = self
            .walk
            .node(need_input(joined, 0)?, "the norm of heads is expected")?;
        let (norm, normed) = self.simplified_norm(norm)?;
        let split = self.walk.op(normed, "", "Reshape", "taking heads apart")?;
        let (proj, input) = self.linear(need_input(split, 0)?)?;
        self.check_reshape(split, norm.len(), &norm)?;
        self.check_reshape(joined, proj.out_features(), proj.weight().tensor())?;
        Ok(Projection { input, proj, norm })
    }

    /// All layers must use the same tables, which are looked at in the end. Input `index` of
    /// `node` is that of cosines, the next one that of sines.
    pub(super) fn use_rotary_cache(
        &mut self,
        node: &'m NodeProto,
        index: usize,
    ) -> Result<(), Error> {
        let (first, first_index) = *self.rotary.get_or_insert((node, index));
        for table in 0..2 {
            if need_input(node, index + table)? != need_input(first, first_index + table)? {
                return Err(unknown(node, "other tables than elsewhere"));
            }
        }
        Ok(())
    }

    /// Refuses a reshape to other rows than `width`, which is that of `weight`. The data stay
    /// as they are, so only the last axis matters.
    fn check_reshape(
        &self,
        node: &'m NodeProto,
        width: usize,
        weight: &Tensor,
    ) -> Result<(), Error> {
        let shape = self.walk.ints(node, 1)?;
        let last = shape.last().copied().unwrap_or(0);
        if usize::try_from(last) == Ok(width) {
            return expect_int(node, "allowzero", 0, 0);
        }
        if last > 0 {
            let (node, dims) = (shorten(node_name(node)), weight.dims());
            let why = format!("has shape {dims:?}, but node {node:?} makes rows of {last}");
            return Err(Error::tensor(weight.name(), why));
        }
        Err(unknown(
            node,
            format!("it reshapes to {shape:?}, not to rows of {width}"),
        ))
    }

    /// Undoes the repetition of keys or values for each query head, if there is one; gives the
    /// value before it.
    ///
    /// Reshape(Transpose(Reshape(Expand(Unsqueeze(Concat(past, Transpose(Reshape(x)))))))), from
    /// `[batch, seq, kv_heads * head_dim]` over `[batch, kv_heads, groups, total, head_dim]` to
    /// `[batch, total, heads * head_dim]`.
    fn unrepeat(&self, value: &'m str) -> Result<(&'m str, Option<Repeat>), Error> {
        let walk = &self.walk;
        let Some(joined) = walk.op_if(value, "", "Reshape") else {
            return Ok((value, None));
        };
        let why = "repeating keys and values";
        let to_seq = walk.op(need_input(joined, 0)?, "", "Transpose", why)?;
        check_swap(to_seq)?;
        let merged = walk.op(need_input(to_seq, 0)?, "", "Reshape", why)?;
        let expand = walk.op(need_input(merged, 0)?, "", "Expand", why)?;
        let unsqueeze = walk.op(need_input(expand, 0)?, "", "Unsqueeze", why)?;
        let axes = walk.ints(unsqueeze, 1)?;
        if axes != [2] {
            // Along axis 1 the heads would come in another order.
            return Err(unknown(unsqueeze, format!("axes are {axes:?}, not [2]")));
        }
        let concat = walk.op(need_input(unsqueeze, 0)?, "", "Concat", why)?;
        expect_int(concat, "axis", 0, 2)?;
        let [past, new] = &*concat.input else {
            return Err(unknown(concat, "the past and the new tokens are expected"));
        };
        if !walk.model.is_input(past) {
            let why = format!("{:?} is expected to be an input", shorten(past));
            return Err(unknown(concat, why));
        }
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

/// A transposition of sequence and heads.
fn check_swap(node: &NodeProto) -> Result<(), Error> {
    match attribute(node, "perm").map(|a| a.ints.as_slice()) {
        Some([0, 2, 1, 3]) => Ok(()),
        _ => Err(unknown(node, "perm is not [0, 2, 1, 3]")),
    }
}

pub(super) fn check_scale(node: &NodeProto, head_dim: usize) -> Result<(), Error> {
    let usual = 1.0 / (head_dim as f32).sqrt();
    // Absent and 0 both mean the usual one.
    let scale = match attribute(node, "scale").map(|a| a.f()) {
        None | Some(0.0) => usual,
        Some(scale) => scale,
    };
    // Not `>`: NaN is refused.
    if (scale - usual).abs() <= 1e-3 * usual {
        Ok(())
    } else {
        let why = format!("scale is {scale}, not {usual} for heads {head_dim} wide");
        Err(unknown(node, why))
    }
}

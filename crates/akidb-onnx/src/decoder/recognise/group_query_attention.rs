//! `com.microsoft.GroupQueryAttention`: causal, keys and values not repeated, rotary inside or not.

use super::attention::{Attention, Heads, Mask, check_scale};
use super::layers::Recogniser;
use super::walk::{Walk, attribute, expect_int, input, int_attribute, need_input, unknown};
use crate::decoder::Linear;
use crate::error::{Error, shorten};
use crate::model::is_op;
use crate::proto::NodeProto;
use crate::proto::tensor_proto::DataType;

/// Attributes whose meaning is known.
const ATTRIBUTES: [&str; 8] = [
    "do_rotary",
    "kv_num_heads",
    "local_window_size",
    "num_heads",
    "rotary_interleaved",
    "scale",
    "smooth_softmax",
    "softcap",
];

const PAST: [usize; 2] = [3, 4];
const SEQLENS_K: usize = 5;
const TOTAL_SEQUENCE_LENGTH: usize = 6;
const COS_CACHE: usize = 7;
const SIN_CACHE: usize = 8;
const POSITION_IDS: usize = 9;

impl<'m> Recogniser<'m> {
    /// Keys and values are inputs of their own: where they come packed with the queries, no norm
    /// of heads can lie between.
    pub(super) fn group_query_attention(
        &mut self,
        node: &'m NodeProto,
        o_proj: Linear,
    ) -> Result<Attention<'m>, Error> {
        check_attributes(node)?;
        let (query, key) = (need_input(node, 0)?, need_input(node, 1)?);
        let rotary_inside = match int_attribute(node, "do_rotary", 0) {
            0 => false,
            1 => true,
            other => return Err(unknown(node, format!("do_rotary is {other}"))),
        };
        let (q, k) = if rotary_inside {
            self.use_rotary_cache(node, COS_CACHE)?;
            (self.normed(query)?, self.normed(key)?)
        } else {
            (self.rotated(query)?, self.rotated(key)?)
        };
        let (v_proj, v_input) = self.linear(need_input(node, 2)?)?;
        if k.input != q.input || v_input != q.input {
            return Err(unknown(node, "q, k and v are not made of the same value"));
        }
        let head_dim = q.norm.len();
        let heads = |name| usize::try_from(int_attribute(node, name, 0)).unwrap_or(0);
        let heads = Heads {
            num_attention_heads: heads("num_heads"),
            num_key_value_heads: heads("kv_num_heads"),
            head_dim,
        };
        self.same_heads(node, heads)?;
        check_scale(node, head_dim)?;
        self.check_gqa_inputs(node, rotary_inside)?;
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

    /// Inputs besides queries, keys and values.
    fn check_gqa_inputs(&mut self, node: &'m NodeProto, rotary_inside: bool) -> Result<(), Error> {
        for index in PAST.into_iter().chain(COS_CACHE..node.input.len()) {
            let known = match input(node, index) {
                None => true,
                Some(past) if PAST.contains(&index) => self.walk.model.is_input(past),
                Some(_) if index == COS_CACHE || index == SIN_CACHE => rotary_inside,
                // Without them, tokens are numbered from the number of past ones on.
                Some(ids) if index == POSITION_IDS => {
                    rotary_inside && ids == "position_ids" && self.walk.model.is_input(ids)
                }
                Some(_) => false,
            };
            if !known {
                return Err(unknown(node, format!("input {index} is not expected")));
            }
        }
        let seqlens_k = need_input(node, SEQLENS_K)?;
        let total = need_input(node, TOTAL_SEQUENCE_LENGTH)?;
        if self.same_mask(node, Mask::Lengths(seqlens_k, total))? {
            return Ok(());
        }
        check_seqlens_k(&self.walk, node, seqlens_k)?;
        check_total_sequence_length(&self.walk, node, total)
    }
}

fn check_attributes(node: &NodeProto) -> Result<(), Error> {
    let unknown_attribute = |a: &&str| !ATTRIBUTES.contains(a);
    let names = node.attribute.iter().map(|a| a.name());
    if let Some(name) = { names }.find(unknown_attribute) {
        let why = format!("attribute {:?} is not expected", shorten(name));
        return Err(unknown(node, why));
    }
    expect_int(node, "local_window_size", -1, -1)?;
    expect_int(node, "rotary_interleaved", 0, 0)?;
    expect_int(node, "smooth_softmax", 0, 0)?;
    match attribute(node, "softcap").map(|a| a.f()) {
        None | Some(0.0) => Ok(()),
        Some(softcap) => Err(unknown(node, format!("softcap is {softcap}, not 0"))),
    }
}

/// `Cast(ReduceSum(attention_mask, 1) - 1)`: the last token of each text, padding on the right.
fn check_seqlens_k<'m>(
    walk: &Walk<'m>,
    attention: &'m NodeProto,
    value: &'m str,
) -> Result<(), Error> {
    let known = || -> Option<Result<bool, Error>> {
        let last = walk.op_if(to_i32(walk, value)?, "", "Sub")?;
        let sum = walk.op_if(input(last, 0)?, "", "ReduceSum")?;
        let is_mask = is_attention_mask(walk, input(sum, 0)?);
        let one = |node, index| Ok(walk.ints(node, index)? == [1]);
        Some(one(last, 1).and_then(|minus_one| Ok(is_mask && minus_one && one(sum, 1)?)))
    };
    match known().transpose()? {
        Some(true) => Ok(()),
        _ => Err(unknown(
            attention,
            "its seqlens_k is not the number of tokens by attention_mask, less one",
        )),
    }
}

/// `Cast(Gather(Shape(attention_mask), 1))`: the number of tokens, padding included.
fn check_total_sequence_length<'m>(
    walk: &Walk<'m>,
    attention: &'m NodeProto,
    value: &'m str,
) -> Result<(), Error> {
    let known = || -> Option<Result<bool, Error>> {
        let length = walk.op_if(to_i32(walk, value)?, "", "Gather")?;
        let shape = walk.op_if(input(length, 0)?, "", "Shape")?;
        let is_mask = is_attention_mask(walk, input(shape, 0)?)
            && shape.attribute.is_empty()
            && int_attribute(length, "axis", 0) == 0;
        Some(walk.ints(length, 1).map(|axis| is_mask && axis == [1]))
    };
    match known().transpose()? {
        Some(true) => Ok(()),
        _ => Err(unknown(
            attention,
            "its total_sequence_length is not the length of attention_mask",
        )),
    }
}

fn is_attention_mask(walk: &Walk<'_>, value: &str) -> bool {
    value == "attention_mask" && walk.model.is_input(value)
}

/// The value before a cast to i32.
fn to_i32<'m>(walk: &Walk<'m>, value: &'m str) -> Option<&'m str> {
    let cast = walk.model.producer(value)?;
    let to = int_attribute(cast, "to", 0);
    let is_cast = is_op(cast, "", "Cast") && to == i64::from(DataType::Int32 as i32);
    is_cast.then(|| input(cast, 0)).flatten()
}

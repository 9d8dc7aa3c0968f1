//! `com.microsoft.GroupQueryAttention`: causal, keys and values not repeated, the norm of heads and
//! rotary inside or not, queries, keys and values packed or not.

use super::scale::check_contrib_scale;
use crate::graph::heads::Layout;
use crate::graph::normal::{Attention, Heads, Mask, Projection};
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    Walk, attribute, expect_attributes, expect_int, input, int_attribute, need_input, unknown,
};
use crate::weights::Linear;
use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

/// Attributes whose meaning is known.
const ATTRIBUTES: [&str; 16] = [
    "causal",
    "do_rotary",
    "k_norm_epsilon",
    "k_quant_type",
    "kv_num_heads",
    "local_window_size",
    "num_heads",
    "q_norm_epsilon",
    "qk_norm_epsilon",
    "qk_output",
    "rotary_interleaved",
    "scale",
    "sliding_window_cache",
    "smooth_softmax",
    "softcap",
    "v_quant_type",
];

const PAST: [usize; 2] = [3, 4];
const SEQLENS_K: usize = 5;
const TOTAL_SEQUENCE_LENGTH: usize = 6;
const COS_CACHE: usize = 7;
const SIN_CACHE: usize = 8;
const POSITION_IDS: usize = 9;
const NORM_WEIGHTS: [usize; 2] = [14, 15];

/// Queries, keys and values.
struct Operands<'m> {
    q: Projection<'m>,
    k: Projection<'m>,
    v_proj: Linear,
    v_input: &'m str,
}

impl<'m> Recogniser<'m> {
    pub(in crate::graph) fn group_query_attention(
        &mut self,
        node: &'m NodeProto,
    ) -> Result<Attention<'m>, Error> {
        check_attributes(node)?;
        let rotary_inside = match int_attribute(node, "do_rotary", 0) {
            0 => false,
            1 => true,
            other => return Err(unknown(node, format!("do_rotary is {other}"))),
        };
        if rotary_inside {
            self.use_rotary_tables(node, [(node, COS_CACHE), (node, SIN_CACHE)])?;
        }
        let heads = |name| usize::try_from(int_attribute(node, name, 0)).unwrap_or(0);
        let (num_attention_heads, num_key_value_heads) =
            (heads("num_heads"), heads("kv_num_heads"));
        let norm_inside = NORM_WEIGHTS
            .iter()
            .any(|&index| input(node, index).is_some());
        let Operands {
            q,
            k,
            v_proj,
            v_input,
        } = match (norm_inside, rotary_inside) {
            (false, _) => self.normed_operands(node, rotary_inside)?,
            (true, true) => self.plain_operands(node, num_attention_heads, num_key_value_heads)?,
            // What the norm is applied to would be rotated already.
            (true, false) => return Err(unknown(node, "do_rotary is 0, with weights of norms")),
        };
        let heads = Heads {
            num_attention_heads,
            num_key_value_heads,
            head_dim: q.head_dim(),
        };
        check_contrib_scale(node, heads.head_dim)?;
        self.check_gqa_inputs(node, rotary_inside)?;
        Ok(Attention {
            node,
            query: q,
            key: k,
            value: v_proj,
            value_input: v_input,
            heads,
        })
    }

    /// Operands whose norms are nodes of their own. Packed, they are put side by side again.
    fn normed_operands(
        &mut self,
        node: &'m NodeProto,
        rotary_inside: bool,
    ) -> Result<Operands<'m>, Error> {
        let query = need_input(node, 0)?;
        let (query, key, value) = match (input(node, 1), input(node, 2)) {
            (Some(key), Some(value)) => (query, key, value),
            (None, None) => {
                let packed = self.walk.op(query, "", "Concat", "packed q, k and v")?;
                let axis = int_attribute(packed, "axis", 0);
                let [query, key, value] = &*packed.input else {
                    return Err(unknown(packed, "q, k and v are expected"));
                };
                if axis != -1 && axis != 2 {
                    return Err(unknown(packed, format!("axis is {axis}, not the last")));
                }
                (&**query, &**key, &**value)
            }
            _ => return Err(unknown(node, "one of key and value is missing")),
        };
        let mut projection = |value| match rotary_inside {
            true => self.normed(value, Layout::Tokens),
            false => self.rotated(value, Layout::Tokens),
        };
        let (q, k) = (projection(query)?, projection(key)?);
        let (v_proj, v_input) = self.linear(value)?;
        Ok(Operands {
            q,
            k,
            v_proj,
            v_input,
        })
    }

    /// Operands that the node applies norms to. Packed, they are one linear layer.
    fn plain_operands(
        &mut self,
        node: &'m NodeProto,
        heads: usize,
        kv_heads: usize,
    ) -> Result<Operands<'m>, Error> {
        let [q_norm, k_norm] = NORM_WEIGHTS.map(|index| self.walk.weight(node, index));
        let (q_norm, k_norm) = (q_norm?, k_norm?);
        for name in ["q_norm_epsilon", "k_norm_epsilon"] {
            let of_both = || attribute(node, "qk_norm_epsilon");
            let epsilon = attribute(node, name).or_else(of_both);
            self.epsilon(node, epsilon.map_or(1e-6, |a| a.f()))?;
        }
        let (q_proj, input_of_q) = self.linear(need_input(node, 0)?)?;
        let (q, k, v) = match (input(node, 1), input(node, 2)) {
            (Some(key), Some(value)) => {
                ((q_proj, input_of_q), self.linear(key)?, self.linear(value)?)
            }
            (None, None) => {
                let width = |heads: usize| heads.saturating_mul(q_norm.len());
                let end_of_q = width(heads);
                let end_of_k = end_of_q.saturating_add(width(kv_heads));
                let part = |range| Ok::<_, Error>((q_proj.outputs(range)?, input_of_q));
                (
                    part(0..end_of_q)?,
                    part(end_of_q..end_of_k)?,
                    part(end_of_k..q_proj.out_features())?,
                )
            }
            _ => return Err(unknown(node, "one of key and value is missing")),
        };
        let projection = |(proj, input), norm| Projection { input, proj, norm };
        Ok(Operands {
            q: projection(q, q_norm),
            k: projection(k, k_norm),
            v_proj: v.0,
            v_input: v.1,
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
                Some(_) => NORM_WEIGHTS.contains(&index),
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
    expect_attributes(node, &ATTRIBUTES)?;
    expect_int(node, "causal", 1, 1)?;
    expect_int(node, "local_window_size", -1, -1)?;
    expect_int(node, "rotary_interleaved", 0, 0)?;
    expect_int(node, "qk_output", 0, 0)?;
    expect_int(node, "sliding_window_cache", 0, 0)?;
    // -1 is not set.
    if int_attribute(node, "smooth_softmax", -1) != -1 {
        expect_int(node, "smooth_softmax", 0, 0)?;
    }
    for name in ["k_quant_type", "v_quant_type"] {
        if attribute(node, name).is_some_and(|a| a.s() != b"NONE".as_slice()) {
            return Err(unknown(node, format!("{name} is not NONE")));
        }
    }
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

//! ONNX's own `Attention` of opset 23, whose queries may have more heads than keys and values.

use super::bool_mask::check_attention_mask;
use super::repeated_heads::Repeat;
use super::scale::check_scale;
use crate::graph::heads::Layout;
use crate::graph::normal::{Attention, Heads, Mask};
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{attribute, expect_attributes, input, int_attribute, need_input, unknown};
use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

const ATTRIBUTES: [&str; 7] = [
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode",
    "scale",
    "softcap",
    "softmax_precision",
];

const MASK: usize = 3;
const PAST: [usize; 2] = [4, 5];

impl<'m> Recogniser<'m> {
    pub(in crate::graph) fn standard_attention(
        &mut self,
        node: &'m NodeProto,
        layout: Layout,
    ) -> Result<Attention<'m>, Error> {
        check_attributes(node)?;
        let (key, value) = (need_input(node, 1)?, need_input(node, 2)?);
        let (key, value, repeats) = match layout {
            Layout::Tokens => {
                let (key, key_repeat) = self.unrepeat(key)?;
                let (value, value_repeat) = self.unrepeat(value)?;
                (key, value, [key_repeat, value_repeat])
            }
            Layout::Heads => {
                let (key, value) = (self.walk.without_past(key)?, self.walk.without_past(value)?);
                (key, value, [None; 2])
            }
        };
        let q = self.rotated(need_input(node, 0)?, layout)?;
        let k = self.rotated(key, layout)?;
        let (value, value_input) = self.values(value, layout, q.head_dim())?;
        let heads = Heads {
            num_attention_heads: q.heads(),
            num_key_value_heads: k.heads(),
            head_dim: q.head_dim(),
        };
        let usual = repeats[0].map(|_| Repeat::of(heads));
        if repeats != [usual; 2] {
            let why = format!("its keys and values are repeated as {repeats:?} for {heads:?}");
            return Err(unknown(node, why));
        }
        let attended = match usual {
            Some(_) => heads.num_attention_heads,
            None => heads.num_key_value_heads,
        };
        check_heads(node, "q_num_heads", layout, heads.num_attention_heads)?;
        check_heads(node, "kv_num_heads", layout, attended)?;
        let scale = attribute(node, "scale").map(|a| a.f());
        check_scale(node, scale, heads.head_dim)?;
        self.check_mask_and_past(node)?;
        Ok(Attention {
            node,
            query: q,
            key: k,
            value,
            value_input,
            heads,
        })
    }

    /// Inputs besides queries, keys and values.
    fn check_mask_and_past(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        for index in MASK + 1..node.input.len() {
            match input(node, index) {
                None => {}
                Some(past) if PAST.contains(&index) && self.walk.model.is_input(past) => {}
                Some(_) => return Err(unknown(node, format!("input {index} is not expected"))),
            }
        }
        let mask = input(node, MASK);
        let is_causal = match int_attribute(node, "is_causal", 0) {
            0 => false,
            1 => true,
            other => return Err(unknown(node, format!("is_causal is {other}"))),
        };
        if self.same_mask(node, Mask::Bias(mask, is_causal))? {
            return Ok(());
        }
        match mask {
            Some(mask) => check_attention_mask(&self.walk, node, mask, !is_causal),
            None if is_causal => Ok(()),
            None => Err(unknown(node, "it has no mask and is_causal is 0")),
        }
    }
}

fn check_attributes(node: &NodeProto) -> Result<(), Error> {
    // Any will do: the softmax is computed in f32.
    const PRECISIONS: [DataType; 4] = [
        DataType::Float,
        DataType::Float16,
        DataType::Double,
        DataType::Bfloat16,
    ];
    expect_attributes(node, &ATTRIBUTES)?;
    if let Some(softcap) = attribute(node, "softcap").map(|a| a.f())
        && softcap != 0.0
    {
        return Err(unknown(node, format!("softcap is {softcap}, not 0")));
    }
    match attribute(node, "softmax_precision").map(|a| a.i()) {
        Some(other) if !PRECISIONS.iter().any(|&t| t as i64 == other) => {
            let why = format!("softmax_precision is {other}, not a float type");
            Err(unknown(node, why))
        }
        _ => Ok(()),
    }
}

/// The attribute `name`, needed for tokens, is a number of heads that the weights have.
fn check_heads(node: &NodeProto, name: &str, layout: Layout, heads: usize) -> Result<(), Error> {
    match attribute(node, name).map(|a| a.i()) {
        None if layout == Layout::Heads => Ok(()),
        None => Err(unknown(node, format!("{name} is missing"))),
        Some(value) if usize::try_from(value) == Ok(heads) => Ok(()),
        Some(value) => Err(unknown(node, format!("{name} is {value}, not {heads}"))),
    }
}

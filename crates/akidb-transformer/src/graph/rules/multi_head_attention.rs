//! `com.microsoft.MultiHeadAttention` → [`Attention`].

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::additive_mask::check_mask;
use super::repeated_heads::Repeat;
use super::scale::check_contrib_scale;
use crate::graph::heads::Layout;
use crate::graph::normal::{Attention, Heads, Mask};
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{expect_attributes, input, int_attribute, need_input, unknown};

impl<'m> Recogniser<'m> {
    /// `com.microsoft.MultiHeadAttention` over keys and values repeated for each query head.
    pub(in crate::graph) fn multi_head_attention(
        &mut self,
        node: &'m NodeProto,
    ) -> Result<Attention<'m>, Error> {
        const ATTRIBUTES: [&str; 4] = ["mask_filter_value", "num_heads", "scale", "unidirectional"];
        expect_attributes(node, &ATTRIBUTES)?;
        let (keys, key_repeat) = self.unrepeat(need_input(node, 1)?)?;
        let (values, value_repeat) = self.unrepeat(need_input(node, 2)?)?;
        let q = self.rotated(need_input(node, 0)?, Layout::Tokens)?;
        let k = self.rotated(keys, Layout::Tokens)?;
        let (value, value_input) = self.linear(values)?;
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
        check_contrib_scale(node, heads.head_dim)?;
        self.check_inputs(node)?;
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
}

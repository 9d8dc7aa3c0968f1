//! Keys or values repeated for each query head → those before.

use akidb_onnx::Error;

use crate::graph::heads::check_swap;
use crate::graph::normal::Heads;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{need_input, unknown};

/// Heads before the repetition of keys or values, and width of all heads after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) struct Repeat {
    heads: usize,
    width: usize,
}

impl Repeat {
    /// The one that gives each query head its own key.
    pub(in crate::graph) fn of(heads: Heads) -> Self {
        Self {
            heads: heads.num_key_value_heads,
            width: heads.num_attention_heads.saturating_mul(heads.head_dim),
        }
    }
}

impl<'m> Recogniser<'m> {
    /// Undoes the repetition of keys or values for each query head, if there is one; gives the
    /// value before it.
    ///
    /// Reshape(Transpose(Reshape(Expand(Unsqueeze(Concat(past, Transpose(Reshape(x)))))))), from
    /// `[batch, seq, kv_heads * head_dim]` over `[batch, kv_heads, groups, total, head_dim]` to
    /// `[batch, total, heads * head_dim]`.
    pub(in crate::graph) fn unrepeat(
        &self,
        value: &'m str,
    ) -> Result<(&'m str, Option<Repeat>), Error> {
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

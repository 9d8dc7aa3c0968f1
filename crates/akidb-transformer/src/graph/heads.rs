//! How a value holds the heads of its tokens, and the nodes that change it.

use super::walk::{Walk, attribute, expect_int, need_input, unknown};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::{Error, shorten};

/// Axes of queries, keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[batch, seq, heads * head_dim]`.
    Tokens,
    /// `[batch, heads, seq, head_dim]`.
    Heads,
}

impl Layout {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Tokens => Self::Heads,
            Self::Heads => Self::Tokens,
        }
    }
}

/// A value in the other layout than the one asked about.
pub(super) struct Relaid<'m> {
    pub(super) value: &'m str,
    /// Its target is to be looked at with [`Walk::check_relaid`].
    reshape: &'m NodeProto,
    transpose: &'m NodeProto,
}

impl<'m> Walk<'m> {
    /// What `Transpose(Reshape(..))` makes heads of, or `Reshape(Transpose(..))` tokens: none when
    /// `value`, in `layout`, is made otherwise.
    pub(super) fn other_layout(&self, value: &'m str, layout: Layout) -> Option<Relaid<'m>> {
        let (last, first) = match layout {
            Layout::Tokens => ("Reshape", "Transpose"),
            Layout::Heads => ("Transpose", "Reshape"),
        };
        let last = self.op_if(value, "", last)?;
        let first = self.op_if(need_input(last, 0).ok()?, "", first)?;
        let (reshape, transpose) = match layout {
            Layout::Tokens => (last, first),
            Layout::Heads => (first, last),
        };
        Some(Relaid {
            value: need_input(first, 0).ok()?,
            reshape,
            transpose,
        })
    }

    /// Refuses a change to `layout` that is not one of `heads` of `head_dim`.
    pub(super) fn check_relaid(
        &self,
        relaid: &Relaid<'m>,
        layout: Layout,
        heads: usize,
        head_dim: usize,
    ) -> Result<(), Error> {
        check_swap(relaid.transpose)?;
        match layout {
            Layout::Tokens => self.check_shape(relaid.reshape, &[heads * head_dim]),
            Layout::Heads => self.check_shape(relaid.reshape, &[heads, head_dim]),
        }
    }

    /// Refuses a reshape to something else than `[batch, seq]` and the axes `last`.
    pub(super) fn check_shape(&self, node: &'m NodeProto, last: &[usize]) -> Result<(), Error> {
        let shape = self.ints(node, 1)?;
        let inferred = shape.iter().filter(|&&dim| dim == -1).count();
        let fits = |&(&dim, &size): &(&i64, &usize)| dim == -1 || usize::try_from(dim) == Ok(size);
        let is_known = match shape.split_first_chunk() {
            // A batch of 1 is what some writers fix.
            Some(([0, 0 | -1] | [-1, 0] | [1, -1], rest)) => {
                rest.len() == last.len() && rest.iter().zip(last).all(|pair| fits(&pair))
            }
            _ => false,
        };
        if is_known && inferred <= 1 {
            return expect_int(node, "allowzero", 0, 0);
        }
        let why = format!("it reshapes to {shape:?}, not to batch, sequence and {last:?}");
        Err(unknown(node, why))
    }

    /// The new keys or values, `[batch, heads, seq, head_dim]`, when past ones are put before them.
    pub(super) fn without_past(&self, value: &'m str) -> Result<&'m str, Error> {
        let Some(concat) = self.op_if(value, "", "Concat") else {
            return Ok(value);
        };
        expect_int(concat, "axis", 0, 2)?;
        let [past, new] = &*concat.input else {
            return Err(unknown(concat, "the past and the new tokens are expected"));
        };
        if !self.model.is_input(past) {
            let why = format!("{:?} is expected to be an input", shorten(past));
            return Err(unknown(concat, why));
        }
        Ok(new)
    }
}

/// A transposition of sequence and heads.
pub(super) fn check_swap(node: &NodeProto) -> Result<(), Error> {
    match attribute(node, "perm").map(|a| a.ints.as_slice()) {
        Some([0, 2, 1, 3]) => Ok(()),
        _ => Err(unknown(node, "perm is not [0, 2, 1, 3]")),
    }
}

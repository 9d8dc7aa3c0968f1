//! The norm of heads, as tokens or one head after another → [`Projection`].

use akidb_onnx::model::{is_op, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

use crate::graph::heads::{Layout, check_swap};
use crate::graph::normal::Projection;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{expect_int, need_input, unknown};
use crate::weights::Linear;

impl<'m> Recogniser<'m> {
    /// The norm of the heads of `x · W`, which is taken apart for it.
    ///
    /// As tokens it is `Reshape(norm(Reshape(x · W)))`. As heads it is a transposition of it, with
    /// the norm before or after; what lies between the norm and the transposition is a reshape or
    /// nothing.
    pub(in crate::graph) fn normed(
        &mut self,
        value: &'m str,
        layout: Layout,
    ) -> Result<Projection<'m>, Error> {
        // More reshapes in a row than writers leave.
        const MAX_RESHAPES: usize = 2;
        let wanted = match layout {
            Layout::Tokens => "Reshape is expected here, for putting heads together again",
            Layout::Heads => "Transpose or the norm of heads is expected here",
        };
        let mut node = self.walk.node(value, wanted)?;
        let mut outermost = None;
        let mut swapped = layout == Layout::Tokens;
        if swapped && !is_op(node, "", "Reshape") {
            return Err(unknown(node, wanted));
        }
        let the_norm = "the norm of heads is expected";
        if !swapped && is_op(node, "", "Transpose") {
            check_swap(node)?;
            swapped = true;
            node = self.walk.node(need_input(node, 0)?, the_norm)?;
        }
        for _ in 0..MAX_RESHAPES {
            if !swapped || !is_op(node, "", "Reshape") {
                break;
            }
            outermost.get_or_insert(node);
            node = self.walk.node(need_input(node, 0)?, the_norm)?;
        }
        let (norm, mut before) = self.simplified_norm(node)?;
        if !swapped {
            let transpose = self
                .walk
                .op(before, "", "Transpose", "one head after another")?;
            check_swap(transpose)?;
            before = need_input(transpose, 0)?;
        }
        let split = self.walk.op(before, "", "Reshape", "taking heads apart")?;
        let (proj, input) = self.linear(need_input(split, 0)?)?;
        self.check_reshape(split, norm.len(), &norm)?;
        let projection = Projection { input, proj, norm };
        match (layout, outermost) {
            (Layout::Tokens, Some(joined)) => {
                let proj = &projection.proj;
                self.check_reshape(joined, proj.out_features(), proj.weight().tensor())?;
            }
            (_, outermost) => {
                let last = [projection.heads(), projection.head_dim()];
                self.walk.check_shape(outermost.unwrap_or(split), &last)?;
            }
        }
        Ok(projection)
    }

    /// The linear layer of values; as heads, a reshape and a transposition of it.
    pub(in crate::graph) fn values(
        &self,
        value: &'m str,
        layout: Layout,
        head_dim: usize,
    ) -> Result<(Linear, &'m str), Error> {
        if layout == Layout::Tokens {
            return self.linear(value);
        }
        let relaid = self.walk.other_layout(value, layout).ok_or_else(|| {
            match self.walk.node(value, "values, one head after another") {
                Ok(node) => unknown(
                    node,
                    "Transpose and Reshape are expected here, for the heads of values",
                ),
                Err(error) => error,
            }
        })?;
        let (proj, input) = self.linear(relaid.value)?;
        let heads = proj.out_features() / head_dim.max(1);
        self.walk.check_relaid(&relaid, layout, heads, head_dim)?;
        Ok((proj, input))
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
}

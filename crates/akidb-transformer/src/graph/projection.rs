//! Queries and keys: a linear layer, the norm of its heads, the rotary embedding.

use super::heads::{Layout, check_swap};
use super::layers::{Recogniser, RotaryTables};
use super::walk::{
    MICROSOFT, attribute, expect_attributes, expect_int, input, int_attribute, need_input, unknown,
};
use crate::weights::Linear;
use akidb_onnx::model::{is_op, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

/// A projection whose heads are normalised.
pub(super) struct Projection<'m> {
    pub(super) input: &'m str,
    pub(super) proj: Linear,
    pub(super) norm: Tensor,
}

impl Projection<'_> {
    pub(super) fn head_dim(&self) -> usize {
        self.norm.len()
    }

    pub(super) fn heads(&self) -> usize {
        self.proj.out_features() / self.head_dim().max(1)
    }
}

impl<'m> Recogniser<'m> {
    /// `RotaryEmbedding` of [`Self::normed`], of ONNX or ONNX Runtime. It may work in the other
    /// layout.
    pub(super) fn rotated(
        &mut self,
        value: &'m str,
        layout: Layout,
    ) -> Result<Projection<'m>, Error> {
        let relaid = self.walk.other_layout(value, layout);
        let (value, rotary_layout) = match &relaid {
            Some(relaid) => (relaid.value, layout.other()),
            None => (value, layout),
        };
        let why = "RotaryEmbedding is expected here, for rotated queries and keys";
        let rotary = self.walk.node(value, why)?;
        let is_contrib = is_op(rotary, MICROSOFT, "RotaryEmbedding");
        if !is_contrib && !is_op(rotary, "", "RotaryEmbedding") {
            return Err(unknown(rotary, why));
        }
        let normed = self.normed(need_input(rotary, 0)?, rotary_layout)?;
        if is_contrib {
            self.check_contrib_rotary(rotary)?;
        } else {
            self.check_rotary(rotary, rotary_layout)?;
        }
        let (heads, head_dim) = (normed.heads(), normed.head_dim());
        for (name, usual) in [("num_heads", heads), ("rotary_embedding_dim", head_dim)] {
            let value = int_attribute(rotary, name, 0);
            if value != 0 && usize::try_from(value) != Ok(usual) {
                return Err(unknown(rotary, format!("{name} is {value}, not {usual}")));
            }
        }
        if let Some(relaid) = relaid {
            self.walk.check_relaid(&relaid, layout, heads, head_dim)?;
        }
        Ok(normed)
    }

    /// `com.microsoft.RotaryEmbedding`.
    fn check_contrib_rotary(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        const ATTRIBUTES: [&str; 5] = [
            "interleaved",
            "is_packed_batching",
            "num_heads",
            "rotary_embedding_dim",
            "scale",
        ];
        expect_attributes(node, &ATTRIBUTES)?;
        expect_int(node, "interleaved", 0, 0)?;
        expect_int(node, "is_packed_batching", 0, 0)?;
        if attribute(node, "scale").is_some_and(|a| a.f() != 1.0) {
            return Err(unknown(node, "scale is not 1"));
        }
        self.check_positions(node, 1)?;
        self.use_rotary_tables(node, [(node, 2), (node, 3)])
    }

    /// ONNX's `RotaryEmbedding`. Without positions it takes the tables' rows for each token.
    fn check_rotary(&mut self, node: &'m NodeProto, layout: Layout) -> Result<(), Error> {
        const ATTRIBUTES: [&str; 3] = ["interleaved", "num_heads", "rotary_embedding_dim"];
        const POSITION_IDS: usize = 3;
        expect_attributes(node, &ATTRIBUTES)?;
        expect_int(node, "interleaved", 0, 0)?;
        if layout == Layout::Tokens && int_attribute(node, "num_heads", 0) == 0 {
            return Err(unknown(node, "num_heads is missing"));
        }
        if input(node, POSITION_IDS).is_some() {
            self.check_positions(node, POSITION_IDS)?;
            return self.use_rotary_tables(node, [(node, 1), (node, 2)]);
        }
        let rows = |index| -> Result<(&'m NodeProto, usize), Error> {
            let rows = need_input(node, index)?;
            let gather = self
                .walk
                .op(rows, "", "Gather", "rows of the rotary tables")?;
            expect_int(gather, "axis", 0, 0)?;
            self.check_positions(gather, 1)?;
            Ok((gather, 0))
        };
        let tables = [rows(1)?, rows(2)?];
        self.use_rotary_tables(node, tables)
    }

    fn check_positions(&self, node: &'m NodeProto, index: usize) -> Result<(), Error> {
        let positions = need_input(node, index)?;
        if positions == "position_ids" && self.walk.model.is_input(positions) {
            return Ok(());
        }
        Err(unknown(
            node,
            "its positions are not the input position_ids",
        ))
    }

    /// All layers must use the same tables, of cosines and of sines, which are looked at in the
    /// end.
    pub(super) fn use_rotary_tables(
        &mut self,
        node: &'m NodeProto,
        tables: RotaryTables<'m>,
    ) -> Result<(), Error> {
        let (_, first) = *self.rotary.get_or_insert((node, tables));
        for ((table, index), (first, first_index)) in tables.into_iter().zip(first) {
            if need_input(table, index)? != need_input(first, first_index)? {
                return Err(unknown(node, "other tables than elsewhere"));
            }
        }
        Ok(())
    }

    /// The norm of the heads of `x · W`, which is taken apart for it.
    ///
    /// As tokens it is `Reshape(norm(Reshape(x · W)))`. As heads it is a transposition of it, with
    /// the norm before or after; what lies between the norm and the transposition is a reshape or
    /// nothing.
    pub(super) fn normed(
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
    pub(super) fn values(
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

//! `RotaryEmbedding`, of ONNX and of ONNX Runtime → [`Projection`].

use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;

use crate::graph::heads::Layout;
use crate::graph::normal::Projection;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    MICROSOFT, attribute, expect_attributes, expect_int, input, int_attribute, need_input, unknown,
};

impl<'m> Recogniser<'m> {
    /// `RotaryEmbedding` of [`Self::normed`], of ONNX or ONNX Runtime. It may work in the other
    /// layout.
    pub(in crate::graph) fn rotated(
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
}

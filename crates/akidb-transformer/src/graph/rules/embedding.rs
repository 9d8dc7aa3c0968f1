//! A lookup of tokens in a table of floats or of codes → [`EmbeddingTable`].

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use crate::graph::normal::Stream;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{
    MICROSOFT, bits_of_codes, expect_attributes, expect_int, int_attribute, need_input, unknown,
};
use crate::weights::EmbeddingTable;
use crate::weights::scales::ValueCheck;

impl<'m> Recogniser<'m> {
    /// The embedding table, when `stream` is a lookup of `input_ids` in it.
    pub(in crate::graph) fn embedding(&self, stream: Stream<'m>) -> Result<EmbeddingTable, Error> {
        let value = match stream {
            Stream::Value(value) => value,
            Stream::Sum(node) => return Err(unknown(node, "an embedding table is expected")),
        };
        if let Some(gather) = self.walk.op_if(value, MICROSOFT, "GatherBlockQuantized") {
            self.expect_input_ids(gather)?;
            return self.table_of_blocks(gather);
        }
        let dequantize = self.walk.op_if(value, "", "DequantizeLinear");
        let value = match dequantize {
            Some(node) => need_input(node, 0)?,
            None => value,
        };
        let gather = self.walk.op(value, "", "Gather", "embedding tokens")?;
        expect_int(gather, "axis", 0, 0)?;
        self.expect_input_ids(gather)?;
        let Some(node) = dequantize else {
            return EmbeddingTable::new(self.walk.weight(gather, 0)?);
        };
        let scale = self.walk.weight(node, 1)?;
        if scale.len() != 1 {
            let why = format!("scales of shape {:?}, one is expected", scale.dims());
            return Err(unknown(node, why));
        }
        let codes = self.walk.need_constant(gather, 0)?;
        let zero_point = self.walk.constant_if_given(node, 2)?;
        EmbeddingTable::quantized(codes, &scale, zero_point.as_ref())
    }

    fn expect_input_ids(&self, gather: &'m NodeProto) -> Result<(), Error> {
        let ids = need_input(gather, 1)?;
        if ids == "input_ids" && self.walk.model.is_input(ids) {
            return Ok(());
        }
        Err(unknown(gather, "it does not look up the input input_ids"))
    }

    /// The table of a `com.microsoft.GatherBlockQuantized`.
    pub(in crate::graph) fn table_of_blocks(
        &self,
        node: &'m NodeProto,
    ) -> Result<EmbeddingTable, Error> {
        expect_attributes(
            node,
            &["bits", "block_size", "gather_axis", "quantize_axis"],
        )?;
        expect_int(node, "gather_axis", 0, 0)?;
        if !matches!(int_attribute(node, "quantize_axis", 1), 1 | -1) {
            return Err(unknown(node, "its blocks do not lie along rows"));
        }
        let bits = bits_of_codes(node)?;
        let block_size = usize::try_from(int_attribute(node, "block_size", 128)).unwrap_or(0);
        EmbeddingTable::quantized_by_block(
            &self.walk.need_constant(node, 0)?,
            (bits, block_size),
            self.walk.scales(node, 2, ValueCheck::Finite)?,
            self.walk.constant_if_given(node, 3)?.as_ref(),
        )
    }
}

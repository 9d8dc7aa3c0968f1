//! A lookup of tokens in a table of floats or of 8-bit codes → [`EmbeddingTable`].

use akidb_onnx::Error;

use crate::graph::normal::Stream;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{expect_int, need_input, unknown};
use crate::weights::EmbeddingTable;

impl<'m> Recogniser<'m> {
    /// The embedding table, when `stream` is a lookup of `input_ids` in it.
    pub(in crate::graph) fn embedding(&self, stream: Stream<'m>) -> Result<EmbeddingTable, Error> {
        let value = match stream {
            Stream::Value(value) => value,
            Stream::Sum(node) => return Err(unknown(node, "an embedding table is expected")),
        };
        let dequantize = self.walk.op_if(value, "", "DequantizeLinear");
        let value = match dequantize {
            Some(node) => need_input(node, 0)?,
            None => value,
        };
        let gather = self.walk.op(value, "", "Gather", "embedding tokens")?;
        expect_int(gather, "axis", 0, 0)?;
        let ids = need_input(gather, 1)?;
        if !(ids == "input_ids" && self.walk.model.is_input(ids)) {
            return Err(unknown(gather, "it does not look up the input input_ids"));
        }
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
}

//! What the file says of the graph's arithmetic.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::proto::tensor_proto::DataType;

use crate::inputs::Inputs;

/// Operators that give all activations of a tensor one scale.
const QUANTIZES_A_WHOLE_TENSOR: [&str; 2] = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul"];

/// Facts about a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphFacts {
    quantized: Option<&'static str>,
    half_precision: bool,
    vocab_size: Option<usize>,
    quantizes_activations: bool,
    takes_task: bool,
}

impl GraphFacts {
    /// Reads them off `onnx`.
    pub fn of(onnx: &OnnxModel) -> Self {
        let nodes = onnx.nodes();
        let mut initializers = onnx.graph().initializer.iter();
        Self {
            quantized: quantized(nodes),
            half_precision: initializers.any(|t| t.data_type() == DataType::Float16),
            vocab_size: vocab_size(onnx),
            quantizes_activations: nodes
                .iter()
                .any(|n| QUANTIZES_A_WHOLE_TENSOR.contains(&n.op_type())),
            takes_task: Inputs::of(onnx, None).is_ok_and(|inputs| inputs.takes_task()),
        }
    }

    /// `int4` or `int8` if any linear layer has such weights.
    pub fn quantized(&self) -> Option<&'static str> {
        self.quantized
    }

    /// True when weights or scales are f16.
    pub fn half_precision(&self) -> bool {
        self.half_precision
    }

    /// Rows of the table that `input_ids` index.
    pub fn vocab_size(&self) -> Option<usize> {
        self.vocab_size
    }

    /// True when activations get one scale for the whole tensor, so that a text's vector depends on
    /// the texts beside it.
    pub fn quantizes_activations(&self) -> bool {
        self.quantizes_activations
    }

    /// True when the graph wants the number of an adaptation.
    pub fn takes_task(&self) -> bool {
        self.takes_task
    }
}

fn quantized(nodes: &[NodeProto]) -> Option<&'static str> {
    let mut found = None;
    for node in nodes {
        match node.op_type() {
            "MatMulBnb4" => return Some("int4"),
            "MatMulNBits" => {
                let bits = node.attribute.iter().find(|a| a.name() == "bits");
                match bits.map_or(4, |a| a.i()) {
                    4 => return Some("int4"),
                    _ => found = Some("int8"),
                }
            }
            "MatMulInteger" | "DynamicQuantizeMatMul" => found = Some("int8"),
            _ => {}
        }
    }
    found
}

fn vocab_size(onnx: &OnnxModel) -> Option<usize> {
    let gather = onnx
        .consumers("input_ids")
        .find(|n| n.op_type() == "Gather" && n.input.get(1).is_some_and(|i| i == "input_ids"))?;
    let rows = onnx
        .initializer_proto(gather.input.first()?)?
        .dims
        .first()?;
    // Engines hold ids as i32.
    usize::try_from(i32::try_from(*rows).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_says_how_it_is_quantized() {
        for (file, quantized, half, activations) in [
            ("tiny/onnx/model.onnx", None, false, false),
            ("tiny-f16/onnx/model_fp16.onnx", None, true, false),
            (
                "tiny-quantized/onnx/model_int8.onnx",
                Some("int8"),
                false,
                true,
            ),
            (
                "tiny-quantized/onnx/model_q4f16.onnx",
                Some("int4"),
                true,
                false,
            ),
            (
                "tiny-quantized/onnx/model_bnb4.onnx",
                Some("int4"),
                false,
                false,
            ),
        ] {
            let facts = GraphFacts::of(&OnnxModel::open(&akidb_testing::fixture(file)).unwrap());
            assert_eq!(facts.quantized(), quantized, "{file}");
            assert_eq!(facts.half_precision(), half, "{file}");
            assert_eq!(facts.quantizes_activations(), activations, "{file}");
        }
    }
}

//! What the file says of the graph, beyond what RTen tells.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{GraphProto, NodeProto, type_proto};

/// Most nodes of a graph; a 28-layer decoder has about 2 000. RTen plans by recursion, so that
/// the number of nodes in a row is bounded by the stack.
pub(crate) const MAX_NODES: usize = 65_536;

/// Most nodes in all subgraphs of `If`, `Loop` and the like, which are planned on the small
/// stack of a pool's thread.
const MAX_SUBGRAPH_NODES: usize = 1024;

/// Facts about a graph.
#[derive(Debug)]
pub(crate) struct GraphFacts {
    /// Name and ONNX type of every input.
    inputs: Vec<(String, String)>,
    precision: &'static str,
    vocab_size: Option<usize>,
    quantizes_activations: bool,
}

impl GraphFacts {
    /// # Errors
    /// When the graph has too many nodes to be planned safely.
    pub(crate) fn of(onnx: &OnnxModel) -> Result<Self, BackendError> {
        let nodes = onnx.nodes();
        let inner: usize = nodes.iter().map(nodes_inside).sum();
        if nodes.len() > MAX_NODES || inner > MAX_SUBGRAPH_NODES {
            return Err(BackendError::new(
                BackendErrorKind::UnsupportedModel,
                format!(
                    "the graph has {} nodes and {inner} in subgraphs; the bounds are {MAX_NODES} \
                     and {MAX_SUBGRAPH_NODES}",
                    nodes.len()
                ),
            ));
        }
        Ok(Self {
            inputs: onnx
                .inputs()
                .map(|input| (input.name().to_owned(), type_name(&input.r#type)))
                .collect(),
            precision: precision(nodes),
            vocab_size: vocab_size(onnx),
            quantizes_activations: nodes.iter().any(|n| n.op_type() == "DynamicQuantizeLinear"),
        })
    }

    /// ONNX type of the input `name`, such as `int64`.
    pub(crate) fn input_type(&self, name: &str) -> &str {
        let found = self.inputs.iter().find(|(input, _)| input == name);
        found.map_or("unknown", |(_, type_name)| type_name)
    }

    /// Arithmetic of the linear layers: `int4` or `int8` if any has such weights, else `f32`, in
    /// which RTen computes f16 graphs too.
    pub(crate) fn precision(&self) -> &'static str {
        self.precision
    }

    /// Rows of the table that `input_ids` index.
    pub(crate) fn vocab_size(&self) -> Option<usize> {
        self.vocab_size
    }

    /// True when activations get one scale for the whole tensor (`DynamicQuantizeLinear`), so
    /// that a text's vector depends on the texts beside it.
    pub(crate) fn quantizes_activations(&self) -> bool {
        self.quantizes_activations
    }
}

fn nodes_inside(node: &NodeProto) -> usize {
    let inside = |graph: &GraphProto| -> usize {
        graph.node.len() + graph.node.iter().map(nodes_inside).sum::<usize>()
    };
    let attributes = node.attribute.iter();
    attributes
        .flat_map(|a| a.graphs.iter().chain(a.g.as_deref()))
        .map(inside)
        .sum()
}

fn type_name(declared: &Option<akidb_onnx::proto::TypeProto>) -> String {
    match declared.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => {
            match DataType::try_from(tensor.elem_type()) {
                Ok(dtype) => format!("{dtype:?}").to_lowercase(),
                Err(_) => format!("element type {}", tensor.elem_type()),
            }
        }
        Some(_) => "not a tensor".to_owned(),
        None => "undeclared".to_owned(),
    }
}

fn precision(nodes: &[NodeProto]) -> &'static str {
    let mut precision = "f32";
    for node in nodes {
        match node.op_type() {
            "MatMulNBits" => {
                let bits = node.attribute.iter().find(|a| a.name() == "bits");
                match bits.map_or(4, |a| a.i()) {
                    4 => return "int4",
                    _ => precision = "int8",
                }
            }
            "MatMulInteger" => precision = "int8",
            _ => {}
        }
    }
    precision
}

fn vocab_size(onnx: &OnnxModel) -> Option<usize> {
    let gather = onnx
        .consumers("input_ids")
        .find(|n| n.op_type() == "Gather" && n.input.get(1).is_some_and(|i| i == "input_ids"))?;
    let rows = onnx
        .initializer_proto(gather.input.first()?)?
        .dims
        .first()?;
    // RTen holds ids as i32.
    usize::try_from(i32::try_from(*rows).ok()?).ok()
}

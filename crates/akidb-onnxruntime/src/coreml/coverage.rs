//! What the CoreML provider takes of a graph.

use std::collections::BTreeMap;

use super::judge::{Judge, is_constant_node};
use super::partition;
use akidb_onnx::is_external;
use akidb_onnx::model::{OnnxModel, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::shorten;

/// What ONNX Runtime's CoreML provider takes of a graph in ML Program form, by its documentation.
///
/// The file is judged as it stands; ONNX Runtime may fold constants first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// Number of nodes, `Constant` nodes aside.
    pub nodes: usize,
    /// How many of them are taken.
    pub supported: usize,
    /// Number of pieces that the taken ones fall into; the values between pieces are copied from
    /// and to the CPU.
    pub partitions: usize,
    /// By operator, with the domain unless it is ONNX's own.
    pub operators: BTreeMap<String, OperatorCount>,
    /// Why nodes are refused, most nodes first. A node with two reasons counts in both.
    pub refusals: Vec<Refusal>,
    /// What to know of nodes that are taken, by operator.
    pub notes: Vec<Refusal>,
    /// Nodes with an input of variable shape: taken or not, they run slowly or on the CPU.
    pub variable_shape: usize,
    /// Nodes with an input whose shape the file doesn't say, judged without it.
    pub unknown_shape: usize,
    /// Initializers in other files: ONNX Runtime up to 1.24 can't give those to CoreML
    /// (microsoft/onnxruntime#28005).
    pub external_initializers: usize,
}

/// Nodes of one operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct OperatorCount {
    /// Nodes that are taken.
    pub supported: usize,
    /// Nodes that are refused.
    pub unsupported: usize,
}

/// One reason, and how many nodes it holds for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// The operator.
    pub operator: String,
    /// The reason.
    pub why: String,
    /// Number of nodes.
    pub nodes: usize,
    /// The first of them.
    pub example: String,
}

impl Coverage {
    /// True when the provider takes the whole graph as one piece with static shapes.
    pub fn is_whole(&self) -> bool {
        self.supported == self.nodes && self.partitions == 1 && self.variable_shape == 0
    }
}

/// Judges each node of `model`.
pub fn coverage(model: &OnnxModel) -> Coverage {
    let judge = Judge::new(model);
    let nodes = model.nodes().iter();
    let nodes: Vec<&NodeProto> = nodes.filter(|node| !is_constant_node(node)).collect();
    let mut operators: BTreeMap<String, OperatorCount> = BTreeMap::new();
    let (mut refusals, mut notes) = (Reasons::default(), Reasons::default());
    let (mut variable_shape, mut unknown_shape) = (0, 0);
    let mut taken = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let judgement = judge.node(node);
        let operator = operator_name(node);
        let is_taken = judgement.refused.is_empty();
        taken.push(is_taken);
        let count = operators.entry(operator.clone()).or_default();
        count.supported += usize::from(is_taken);
        count.unsupported += usize::from(!is_taken);
        variable_shape += usize::from(judgement.variable);
        unknown_shape += usize::from(judgement.unknown);
        refusals.add(&operator, judgement.refused, node);
        notes.add(&operator, judgement.notes, node);
    }
    let external = |t: &&_| is_external(t);
    Coverage {
        nodes: nodes.len(),
        supported: taken.iter().filter(|&&t| t).count(),
        partitions: partition::count(&nodes, &taken),
        operators,
        refusals: refusals.into_sorted(),
        notes: notes.into_sorted(),
        variable_shape,
        unknown_shape,
        external_initializers: model.graph().initializer.iter().filter(external).count(),
    }
}

fn operator_name(node: &NodeProto) -> String {
    match node.domain() {
        "" | "ai.onnx" => shorten(node.op_type()),
        domain => shorten(&format!("{domain}:{}", node.op_type())),
    }
}

/// Number of nodes, and the first of them, by operator and reason.
#[derive(Default)]
struct Reasons(BTreeMap<(String, String), (usize, String)>);

impl Reasons {
    fn add(&mut self, operator: &str, reasons: Vec<String>, node: &NodeProto) {
        for why in reasons {
            let key = (operator.to_owned(), why);
            let first = || (0, shorten(node_name(node)));
            self.0.entry(key).or_insert_with(first).0 += 1;
        }
    }

    fn into_sorted(self) -> Vec<Refusal> {
        let reasons = self.0.into_iter();
        let mut sorted: Vec<Refusal> = reasons
            .map(|((operator, why), (nodes, example))| Refusal {
                operator,
                why,
                nodes,
                example,
            })
            .collect();
        sorted.sort_by_key(|refusal| std::cmp::Reverse(refusal.nodes));
        sorted
    }
}

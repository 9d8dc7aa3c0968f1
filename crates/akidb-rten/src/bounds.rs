//! How large a graph RTen can plan.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::{GraphProto, NodeProto};

/// Most nodes of a graph; a 28-layer decoder has about 2 000. RTen plans by recursion, so that
/// the number of nodes in a row is bounded by the stack.
pub(crate) const MAX_NODES: usize = 65_536;

/// Most nodes in all subgraphs of `If`, `Loop` and the like, which are planned on the small
/// stack of a pool's thread.
const MAX_SUBGRAPH_NODES: usize = 1024;

/// Refuses a graph that has too many nodes to be planned safely.
pub(crate) fn check(onnx: &OnnxModel) -> Result<(), BackendError> {
    let nodes = onnx.nodes();
    let inner: usize = nodes.iter().map(nodes_inside).sum();
    if nodes.len() > MAX_NODES || inner > MAX_SUBGRAPH_NODES {
        return Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the graph has {} nodes and {inner} in subgraphs; the bounds are {MAX_NODES} and \
                 {MAX_SUBGRAPH_NODES}",
                nodes.len()
            ),
        ));
    }
    Ok(())
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

//! The first of equal values, where RTen takes the last.
//!
//! ONNX's `ArgMax` and `ArgMin` give the first of equal values unless `select_last_index` says otherwise.
//! RTen 0.27 always gives the last, and refuses that attribute. A graph that finds its last token by the
//! `ArgMax` of a reversed mask would return the first token's state. So these nodes are given their input
//! reversed, and count back; those that want the last lose the attribute.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::is_op;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// What the names of values begin with that are added to a graph.
const PREFIX: &str = "akidb/first_of_equals";

const LAST: &str = "select_last_index";

/// Whether a graph, or one inside it, has nodes that [`take_first`] changes.
pub(crate) fn has_ties(graph: &GraphProto) -> bool {
    graph.node.iter().any(has_choice) || graphs_inside(graph).any(has_ties)
}

/// Makes nodes give the one of equal values that they have to.
///
/// # Errors
/// When one of them is in a subgraph.
pub(crate) fn take_first(graph: &mut GraphProto) -> Result<(), BackendError> {
    if graphs_inside(graph).any(has_ties) {
        return Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            "an ArgMax or ArgMin is in a subgraph, where RTen takes the last of equal values instead \
             of the first",
        ));
    }
    let nodes = std::mem::take(&mut graph.node);
    let mut constants = Constants(&mut graph.initializer);
    let minus_one = constants.add("minus_one", &[1], -1);
    let far = constants.add("far", &[1], i64::from(i32::MIN));
    let one = constants.add("one", &[], 1);
    for (place, mut node) in nodes.into_iter().enumerate() {
        if !has_choice(&node) {
            graph.node.push(node);
            continue;
        }
        let takes_last = node
            .attribute
            .iter()
            .any(|a| a.name() == LAST && a.i() != 0);
        node.attribute.retain(|a| a.name() != LAST);
        if takes_last {
            graph.node.push(node);
            continue;
        }
        let axis = node.attribute.iter().find(|a| a.name() == "axis");
        let axis = axis.map_or(0, AttributeProto::i);
        let axes = constants.add(&format!("axes{place}"), &[1], axis);
        let at = constants.add(&format!("axis{place}"), &[], axis);
        let value = |what: &str| format!("{PREFIX}/{what}{place}");
        let input = node.input.first().cloned().unwrap_or_default();
        let wanted = node.output.first().cloned().unwrap_or_default();
        let new = |op: &str, inputs: &[&String], output: &String| NodeProto {
            name: Some(format!("{output} ({})", node.name())),
            op_type: Some(op.to_owned()),
            input: inputs.iter().map(|name| (*name).clone()).collect(),
            output: vec![output.clone()],
            ..Default::default()
        };
        let [reversed, shape, size, last, found] =
            ["reversed", "shape", "size", "last", "found"].map(value);
        let before = [
            new(
                "Slice",
                &[&input, &minus_one, &far, &axes, &minus_one],
                &reversed,
            ),
            new("Shape", &[&input], &shape),
            new("Gather", &[&shape, &at], &size),
            new("Sub", &[&size, &one], &last),
        ];
        let after = new("Sub", &[&last, &found], &wanted);
        node.input = vec![reversed];
        node.output = vec![found];
        graph.node.extend(before);
        graph.node.extend([node, after]);
    }
    Ok(())
}

fn has_choice(node: &NodeProto) -> bool {
    is_op(node, "", "ArgMax") || is_op(node, "", "ArgMin")
}

fn graphs_inside(graph: &GraphProto) -> impl Iterator<Item = &GraphProto> {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs))
}

/// Integers that are added to a graph's initializers.
struct Constants<'a>(&'a mut Vec<TensorProto>);

impl Constants<'_> {
    /// The name of a new one.
    fn add(&mut self, what: &str, dims: &[i64], value: i64) -> String {
        let name = format!("{PREFIX}/{what}");
        self.0.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(DataType::Int64 as i32),
            dims: dims.to_vec(),
            int64_data: vec![value],
            ..Default::default()
        });
        name
    }
}

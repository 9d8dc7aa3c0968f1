//! All tensors of a model whose values are in other files, wherever the graph has them: initializers,
//! attributes (`Constant` nodes above all), subgraphs, functions, sparse tensors.

use crate::constant::is_external;
use crate::model::OnnxModel;
use crate::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};

impl OnnxModel {
    /// The tensors whose values are in other files.
    pub fn external_tensors(&self) -> Vec<&TensorProto> {
        let mut found = Vec::new();
        in_graph(self.graph(), &mut found);
        for function in &self.proto().functions {
            in_nodes(&function.node, &mut found);
            in_attributes(&function.attribute_proto, &mut found);
        }
        found
    }
}

// Nesting is bounded where the file is decoded.

fn in_graph<'a>(graph: &'a GraphProto, found: &mut Vec<&'a TensorProto>) {
    found.extend(
        graph
            .initializer
            .iter()
            .filter(|tensor| is_external(tensor)),
    );
    in_sparse(&graph.sparse_initializer, found);
    in_nodes(&graph.node, found);
}

fn in_nodes<'a>(nodes: &'a [NodeProto], found: &mut Vec<&'a TensorProto>) {
    nodes
        .iter()
        .for_each(|node| in_attributes(&node.attribute, found));
}

fn in_attributes<'a>(attributes: &'a [AttributeProto], found: &mut Vec<&'a TensorProto>) {
    for attribute in attributes {
        let tensors = attribute.t.as_deref().into_iter().chain(&attribute.tensors);
        found.extend(tensors.filter(|tensor| is_external(tensor)));
        let sparse = attribute.sparse_tensor.as_deref().into_iter();
        in_sparse(sparse.chain(&attribute.sparse_tensors), found);
        let graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
        graphs.for_each(|graph| in_graph(graph, found));
    }
}

fn in_sparse<'a>(
    sparse: impl IntoIterator<Item = &'a SparseTensorProto>,
    found: &mut Vec<&'a TensorProto>,
) {
    let parts = sparse
        .into_iter()
        .flat_map(|s| s.values.iter().chain(&s.indices));
    found.extend(parts.filter(|tensor| is_external(tensor)));
}

/// Calls `change` for each tensor of `graph` whose values are in another file, those of sparse tensors
/// aside.
pub fn external_tensors_mut(graph: &mut GraphProto, change: &mut dyn FnMut(&mut TensorProto)) {
    let initializers = graph.initializer.iter_mut();
    initializers
        .filter(|tensor| is_external(tensor))
        .for_each(&mut *change);
    let nodes = graph.node.iter_mut();
    for attribute in nodes.flat_map(|node| &mut node.attribute) {
        let tensors = attribute.t.as_deref_mut().into_iter();
        let tensors = tensors.chain(&mut attribute.tensors);
        tensors
            .filter(|tensor| is_external(tensor))
            .for_each(&mut *change);
        let graphs = attribute.g.as_deref_mut().into_iter();
        for graph in graphs.chain(&mut attribute.graphs) {
            external_tensors_mut(graph, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensor_proto::DataLocation;
    use crate::proto::{FunctionProto, ModelProto, OperatorSetIdProto};
    use prost::Message;

    fn tensor(name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            data_location: Some(DataLocation::External as i32),
            ..Default::default()
        }
    }

    fn node(attribute: AttributeProto) -> NodeProto {
        NodeProto {
            op_type: Some("Constant".to_owned()),
            attribute: vec![attribute],
            ..Default::default()
        }
    }

    fn constant(name: &str) -> NodeProto {
        node(AttributeProto {
            t: Some(Box::new(tensor(name))),
            tensors: vec![TensorProto::default()],
            ..Default::default()
        })
    }

    #[test]
    fn they_are_found_wherever_they_are() {
        let inner = GraphProto {
            initializer: vec![tensor("inner initializer")],
            node: vec![constant("inner constant")],
            ..Default::default()
        };
        let mut graph = GraphProto {
            initializer: vec![tensor("initializer"), TensorProto::default()],
            node: vec![
                constant("constant"),
                node(AttributeProto {
                    g: Some(Box::new(inner)),
                    ..Default::default()
                }),
            ],
            sparse_initializer: vec![SparseTensorProto {
                values: Some(tensor("sparse")),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut changed = Vec::new();
        external_tensors_mut(&mut graph, &mut |tensor| {
            changed.push(tensor.name().to_owned())
        });
        let own = [
            "initializer",
            "constant",
            "inner initializer",
            "inner constant",
        ];
        assert_eq!(changed, own);

        let model = ModelProto {
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto::default()],
            functions: vec![FunctionProto {
                node: vec![constant("function")],
                ..Default::default()
            }],
            ..Default::default()
        };
        let model = OnnxModel::from_bytes(model.encode_to_vec().into()).unwrap();
        let mut names: Vec<_> = model.external_tensors().iter().map(|t| t.name()).collect();
        names.sort_unstable();
        let mut all = [&own[..], &["sparse", "function"]].concat();
        all.sort_unstable();
        assert_eq!(names, all);
    }
}

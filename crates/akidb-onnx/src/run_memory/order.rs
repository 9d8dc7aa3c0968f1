//! The order in which nodes run, and when values are let go.

use std::collections::HashMap;

use crate::proto::{GraphProto, NodeProto};

/// Nodes in an order in which each comes after those that it reads from.
#[derive(Debug)]
pub(super) struct Schedule {
    nodes: Vec<NodeProto>,
    order: Vec<usize>,
    /// For each step, the values that nothing later reads.
    dying: Vec<Vec<String>>,
}

impl Schedule {
    /// All nodes, or those that `output` needs; in the file's order where that is possible.
    pub(super) fn new(nodes: Vec<NodeProto>, output: Option<&str>) -> Self {
        let order = order(&nodes, output);
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (step, &i) in order.iter().enumerate() {
            last.extend(nodes[i].output.iter().map(|name| (name.as_str(), step)));
            last.extend(reads(&nodes[i]).into_iter().map(|name| (name, step)));
        }
        let mut dying = vec![Vec::new(); order.len()];
        for (name, step) in last {
            if Some(name) != output {
                dying[step].push(name.to_owned());
            }
        }
        Self {
            nodes,
            order,
            dying,
        }
    }

    /// Each node with the values that can go when it has run.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&NodeProto, &[String])> {
        let dying = self.dying.iter().map(Vec::as_slice);
        self.order
            .iter()
            .filter_map(|&i| self.nodes.get(i))
            .zip(dying)
    }
}

fn order(nodes: &[NodeProto], output: Option<&str>) -> Vec<usize> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        producers.extend(node.output.iter().map(|name| (name.as_str(), i)));
    }
    let roots: Vec<usize> = match output {
        Some(output) => producers.get(output).copied().into_iter().collect(),
        None => (0..nodes.len()).collect(),
    };
    let mut seen = vec![false; nodes.len()];
    let mut order = Vec::new();
    for root in roots {
        // Twice: on the way down, and when all that it reads from is there.
        let mut waiting = vec![(root, false)];
        while let Some((i, ready)) = waiting.pop() {
            if ready {
                order.push(i);
            } else if !std::mem::replace(&mut seen[i], true) {
                waiting.push((i, true));
                let inputs = reads(&nodes[i]);
                let before = inputs.iter().rev().filter_map(|name| producers.get(name));
                waiting.extend(before.map(|&before| (before, false)));
            }
        }
    }
    order
}

/// The values that a node reads, and those that its subgraphs may read.
fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let graphs = node.attribute.iter().filter_map(|a| a.g.as_deref());
    graphs.for_each(|graph| inner_reads(graph, &mut names));
    names.retain(|name| !name.is_empty());
    names
}

fn inner_reads<'a>(graph: &'a GraphProto, names: &mut Vec<&'a str>) {
    names.extend(graph.output.iter().map(|output| output.name()));
    for node in &graph.node {
        names.extend(reads(node));
    }
}

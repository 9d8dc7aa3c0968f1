//! How many pieces of a graph the provider gets.
//!
//! As ONNX Runtime's `CreateSupportedPartitions` groups nodes: in topological order, and a group
//! ends only where all nodes that could still join it wait for a refused one.

use std::collections::{HashMap, HashSet, VecDeque};

use akidb_onnx::proto::NodeProto;

/// Number of groups that the taken ones of `nodes` fall into. `taken` has one answer a node.
pub(super) fn count(nodes: &[&NodeProto], taken: &[bool]) -> usize {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        producers.extend(node.output.iter().map(|name| (name.as_str(), i)));
    }
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waits_for: Vec<usize> = vec![0; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let inputs = node.input.iter().filter(|name| !name.is_empty());
        for &producer in inputs.filter_map(|name| producers.get(name.as_str())) {
            consumers[producer].push(i);
            waits_for[i] += 1;
        }
    }
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|&i| waits_for[i] == 0).collect();
    let mut next_group = VecDeque::new();
    let (mut groups, mut in_group) = (0, false);
    let mut border: HashSet<usize> = HashSet::new();
    loop {
        let Some(i) = ready.pop_front() else {
            groups += usize::from(in_group);
            in_group = false;
            border.clear();
            if next_group.is_empty() {
                return groups;
            }
            std::mem::swap(&mut ready, &mut next_group);
            continue;
        };
        let is_taken = taken.get(i).copied().unwrap_or(false);
        if !is_taken && border.contains(&i) {
            next_group.push_back(i);
            continue;
        }
        if is_taken {
            in_group = true;
            border.remove(&i);
            border.extend(&consumers[i]);
        }
        for &consumer in &consumers[i] {
            waits_for[consumer] -= 1;
            if waits_for[consumer] == 0 {
                ready.push_back(consumer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        }
    }

    fn groups(nodes: &[(&[&str], &str, bool)]) -> usize {
        let protos: Vec<_> = nodes.iter().map(|(i, o, _)| node(i, o)).collect();
        let taken: Vec<_> = nodes.iter().map(|n| n.2).collect();
        count(&protos.iter().collect::<Vec<_>>(), &taken)
    }

    #[test]
    fn a_refused_node_in_a_chain_cuts_it() {
        let chain = |middle| {
            groups(&[
                (&["x"], "a", true),
                (&["a"], "b", middle),
                (&["b"], "c", true),
            ])
        };
        assert_eq!(chain(true), 1);
        assert_eq!(chain(false), 2);
        assert_eq!(groups(&[(&["x"], "a", false)]), 0);
        assert_eq!(groups(&[]), 0);
    }

    #[test]
    fn a_refused_node_beside_the_others_cuts_nothing() {
        assert_eq!(
            groups(&[
                (&["x"], "r", false),
                (&["x"], "a", true),
                (&["a", "r"], "b", true),
                (&["b"], "c", true),
            ]),
            1
        );
    }

    #[test]
    fn both_sides_of_a_refused_branch_are_two() {
        // a feeds the refused r; b joins r again, d does not and stays with a.
        assert_eq!(
            groups(&[
                (&["x"], "a", true),
                (&["a"], "r", false),
                (&["a"], "d", true),
                (&["d", "r"], "b", true),
            ]),
            2
        );
    }

    #[test]
    fn a_value_read_twice_is_waited_for_twice() {
        assert_eq!(groups(&[(&["x"], "a", true), (&["a", "a"], "b", true)]), 1);
    }
}

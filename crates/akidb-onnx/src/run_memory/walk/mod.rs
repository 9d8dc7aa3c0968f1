//! Node by node: what each makes, and what is held meanwhile.

mod subgraphs;

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use super::order::Schedule;
use super::outputs::{inside, is_sized_by_values, outputs};
use super::{Peak, Scope, Value, described};
use crate::proto::{FunctionProto, NodeProto};
use crate::validate::shapes::node::Node;

/// Most nodes that are looked at for one run, those of loops once for each step.
const MAX_STEPS: usize = 1 << 20;

/// Why a run is refused.
#[derive(Debug)]
pub(super) struct Stop {
    /// The node, described.
    pub(super) node: String,
    pub(super) why: String,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It holds too much, or what it holds can't be told.
    Memory,
    /// Shapes contradict each other: a branch in which they do is not the one that is taken.
    Contradiction,
    /// The engine has no such operator, and will say so before it runs anything.
    Lacking,
}

pub(super) struct Walk<'a> {
    functions: &'a [FunctionProto],
    strict: bool,
    limit: u64,
    steps: Cell<usize>,
    /// The first node of which nothing is known, described.
    unknown: OnceCell<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(functions: &'a [FunctionProto], strict: bool, limit: u64) -> Self {
        Self {
            functions,
            strict,
            limit,
            steps: Cell::new(0),
            unknown: OnceCell::new(),
        }
    }

    /// Adds the values of all nodes to `scope`; `held` bytes are held besides.
    pub(super) fn schedule<'s>(
        &self,
        schedule: &'s Schedule,
        scope: &mut Scope<'s>,
        held: u64,
    ) -> Result<Peak, Stop> {
        let mut sizes: HashMap<&str, u64> = HashMap::new();
        let mut live = held;
        let mut peak = Peak {
            bytes: held,
            node: String::new(),
        };
        for (node, dying) in schedule.steps() {
            let stop = |why| Stop {
                node: described(node),
                why,
                reason: Reason::Memory,
            };
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > MAX_STEPS {
                return Err(stop(
                    "its loops have too many steps to be looked at".to_owned(),
                ));
            }
            let mut inputs = node.input.iter().filter(|name| !name.is_empty());
            if inputs.any(|name| scope.value(name).is_none_or(|value| value.absent)) {
                let outputs = node
                    .output
                    .iter()
                    .map(|name| (name.as_str(), Value::absent()));
                scope.known.extend(outputs);
                continue;
            }
            let Made { values, inside } = self.node(node, scope, live)?;
            let mut made = 0u64;
            for (name, value) in node.output.iter().zip(values) {
                if name.is_empty() {
                    continue;
                }
                let bytes = match value.bytes() {
                    Some(bytes) => bytes,
                    None if value.absent => 0,
                    None if self.strict || is_sized_by_values(node) => {
                        let mut why =
                            "the size of its output isn't known before it runs".to_owned();
                        if let Some(unknown) = self.unknown.get() {
                            why.push_str(&format!(", nor what node {unknown} makes"));
                        }
                        return Err(stop(why));
                    }
                    None => 0,
                };
                made = made.saturating_add(bytes);
                sizes.insert(name, bytes);
                scope.known.insert(name, value);
            }
            let of_input = |name: &&String| !node.output.contains(name);
            let in_place = computes_in_place(node)
                && dying
                    .iter()
                    .filter(of_input)
                    .any(|name| sizes.get(name.as_str()) == Some(&made));
            let freed: u64 = dying
                .iter()
                .filter_map(|name| sizes.remove(name.as_str()))
                .sum();
            let during = match in_place {
                true => live.saturating_add(inside),
                false => live.saturating_add(made).saturating_add(inside),
            };
            if during > peak.bytes {
                peak.bytes = during;
                peak.node = described(node);
            }
            if during > self.limit {
                return Err(stop(format!(
                    "{} bytes would be held in memory, at most {} may be",
                    during, self.limit
                )));
            }
            live = live.saturating_add(made).saturating_sub(freed);
        }
        Ok(peak)
    }

    /// What a node makes of the values in `scope`, while `held` bytes are held.
    fn node(&self, node: &NodeProto, scope: &Scope<'_>, held: u64) -> Result<Made, Stop> {
        let mut functions = self.functions.iter();
        let named = |f: &&FunctionProto| f.name() == node.op_type() && f.domain() == node.domain();
        if let Some(function) = functions.find(named) {
            return subgraphs::function(self, function, node, scope, held);
        }
        if let Some(made) = subgraphs::infer(self, node, scope, held)? {
            return Ok(made);
        }
        let stop = |reason, why| Stop {
            node: described(node),
            why,
            reason,
        };
        let values = outputs(node, scope).map_err(|why| stop(Reason::Contradiction, why))?;
        if values.is_none() {
            if self.strict {
                return Err(stop(Reason::Lacking, String::new()));
            }
            self.unknown.get_or_init(|| described(node));
        }
        Ok(Made {
            inside: inside(&Node::new(scope, node)),
            values: values.unwrap_or_else(|| vec![Value::default(); node.output.len()]),
        })
    }
}

/// The outputs of a node, and the bytes that it needs besides.
pub(super) struct Made {
    pub(super) values: Vec<Value>,
    pub(super) inside: u64,
}

/// Operators that both engines compute in the memory of an input that nothing else needs.
fn computes_in_place(node: &NodeProto) -> bool {
    matches!(
        node.op_type(),
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Softmax"
            | "Reshape"
            | "Squeeze"
            | "Unsqueeze"
            | "Flatten"
            | "Identity"
            | "Tanh"
            | "Erf"
            | "Sqrt"
            | "Neg"
            | "Relu"
            | "Sigmoid"
            | "Gelu"
            | "Pow"
    )
}

//! Operators that run a graph: `If`, `Loop`, `Scan`, and those that the file itself defines.

use super::{Made, Reason, Stop, Walk};
use crate::proto::tensor_proto::DataType;
use crate::proto::{FunctionProto, GraphProto, NodeProto};
use crate::run_memory::contents::Contents;
use crate::run_memory::order::Schedule;
use crate::run_memory::{Scope, Value, described, detached};
use crate::stated::Stated;

/// Most steps of a loop: as many as a text has tokens, and room.
const MAX_LOOP: i64 = 1 << 16;

/// What a node with a graph makes; `None` of another one.
pub(super) fn infer(
    walk: &Walk<'_>,
    node: &NodeProto,
    scope: &Scope<'_>,
    held: u64,
) -> Result<Option<Made>, Stop> {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return Ok(None);
    }
    match node.op_type() {
        "If" => branches(walk, node, scope, held).map(Some),
        "Loop" => repeated(walk, node, scope, held).map(Some),
        "Scan" => scanned(walk, node, scope, held).map(Some),
        _ => Ok(None),
    }
}

fn stop(node: &NodeProto, why: &str) -> Stop {
    Stop {
        node: described(node),
        why: why.to_owned(),
        reason: Reason::Memory,
    }
}

fn graph<'a>(node: &'a NodeProto, name: &str) -> Result<&'a GraphProto, Stop> {
    let mut attributes = node.attribute.iter();
    let attribute = attributes.find(|a| a.name() == name);
    let graph = attribute.and_then(|a| a.g.as_deref());
    graph.ok_or_else(|| stop(node, &format!("it has no {name}")))
}

/// The outputs of `graph` on `inputs`, and the most that is held beside `held` and them.
fn run(
    walk: &Walk<'_>,
    graph: &GraphProto,
    inputs: Vec<Value>,
    scope: &Scope<'_>,
    held: u64,
) -> Result<Made, Stop> {
    let schedule = Schedule::new(graph.node.clone(), None);
    let mut inner = Scope {
        outer: Some(scope),
        ..Scope::default()
    };
    for tensor in &graph.initializer {
        inner
            .known
            .insert(tensor.name(), detached::constant(tensor));
    }
    let mut inputs = inputs.into_iter();
    for input in &graph.input {
        let value = inputs.next().unwrap_or_default();
        inner.known.insert(input.name(), value);
    }
    let peak = walk.schedule(&schedule, &mut inner, held)?;
    let outputs = graph.output.iter();
    let outputs = outputs.map(|output| inner.value(output.name()).cloned().unwrap_or_default());
    Ok(Made {
        values: outputs.collect(),
        inside: peak.bytes.saturating_sub(held),
    })
}

/// What either branch makes, or the one that is known to be taken.
fn branches(walk: &Walk<'_>, node: &NodeProto, scope: &Scope<'_>, held: u64) -> Result<Made, Stop> {
    let condition = node.input.first().and_then(|name| scope.value(name));
    let condition = condition.and_then(|condition| condition.contents.as_ref()?.exact()?.first());
    let branch = |name| run(walk, graph(node, name)?, Vec::new(), scope, held);
    match condition {
        Some(0) => return branch("else_branch"),
        Some(_) => return branch("then_branch"),
        None => {}
    }
    match (branch("then_branch"), branch("else_branch")) {
        (Err(stop), Ok(made)) | (Ok(made), Err(stop)) if stop.reason == Reason::Contradiction => {
            Ok(made)
        }
        (yes, no) => {
            let (yes, no) = (yes?, no?);
            let both = yes.values.iter().zip(&no.values);
            Ok(Made {
                values: both.map(|(yes, no)| either(yes, no)).collect(),
                inside: yes.inside.max(no.inside),
            })
        }
    }
}

/// What holds for two values of which it isn't known which one it is.
fn either(a: &Value, b: &Value) -> Value {
    let dims = match (&a.stated.dims, &b.stated.dims) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            let both = a.iter().zip(b);
            Some(both.map(|(a, b)| Some((*a)?.max((*b)?))).collect())
        }
        _ => None,
    };
    Value {
        at_most: a.at_most || b.at_most || a.stated.dims != b.stated.dims,
        contents: a
            .contents
            .as_ref()
            .zip(b.contents.as_ref())
            .and_then(|(a, b)| a.or(b)),
        stated: Stated {
            elem_type: a.stated.elem_type.or(b.stated.elem_type),
            dims,
        },
        absent: a.absent || b.absent,
    }
}

fn scalar(elem_type: DataType, most: i64) -> Value {
    let stated = Stated {
        elem_type: Some(elem_type),
        dims: Some(Vec::new()),
    };
    Value::new(stated).holding(Some(Contents::Within(0, most)))
}

fn repeated(walk: &Walk<'_>, node: &NodeProto, scope: &Scope<'_>, held: u64) -> Result<Made, Stop> {
    let body = graph(node, "body")?;
    let count = node.input.first().and_then(|name| scope.value(name));
    let count = count.and_then(|count| count.contents.as_ref()?.bounds());
    let steps = match count {
        Some((_, most)) if most <= MAX_LOOP => most.max(0),
        _ => {
            return Err(stop(
                node,
                "the number of its steps isn't known, or too large",
            ));
        }
    };
    let given = node.input.iter().skip(2);
    let state = given.map(|name| scope.value(name).cloned().unwrap_or_default());
    let first = [scalar(DataType::Int64, steps), scalar(DataType::Bool, 1)];
    iterate(
        walk,
        body,
        Rounds {
            steps,
            state: state.collect(),
            first: first.into(),
            last: Vec::new(),
            skip: 1,
        },
        scope,
        held,
    )
}

fn scanned(walk: &Walk<'_>, node: &NodeProto, scope: &Scope<'_>, held: u64) -> Result<Made, Stop> {
    let body = graph(node, "body")?;
    let mut attributes = node.attribute.iter();
    if attributes.any(|a| a.name().ends_with("_axes") && a.ints.iter().any(|axis| *axis != 0)) {
        return Err(stop(node, "it goes along other axes than the first"));
    }
    let mut attributes = node.attribute.iter();
    let scans = attributes
        .find(|a| a.name() == "num_scan_inputs")
        .map_or(0, |a| a.i());
    let inputs = node
        .input
        .iter()
        .map(|name| scope.value(name).cloned().unwrap_or_default());
    let mut state: Vec<Value> = inputs.collect();
    let states = usize::try_from(scans)
        .ok()
        .and_then(|scans| state.len().checked_sub(scans));
    let states = states.ok_or_else(|| stop(node, "it has fewer inputs than it scans"))?;
    let mut steps = 0;
    let mut last = Vec::new();
    for mut value in state.split_off(states) {
        let dims = value.stated.dims.as_mut().filter(|dims| !dims.is_empty());
        let len = dims.and_then(|dims| dims.remove(0));
        steps = len
            .ok_or_else(|| stop(node, "the number of its steps isn't known"))?
            .max(steps);
        value.contents = value
            .contents
            .as_ref()
            .and_then(Contents::bounds)
            .map(|b| Contents::Within(b.0, b.1));
        last.push(value);
    }
    iterate(
        walk,
        body,
        Rounds {
            steps,
            state,
            first: Vec::new(),
            last,
            skip: 0,
        },
        scope,
        held,
    )
}

/// A body that is run again and again.
struct Rounds {
    steps: i64,
    /// What each step hands to the next.
    state: Vec<Value>,
    /// Inputs of the body before and behind the state.
    first: Vec<Value>,
    last: Vec<Value>,
    /// Outputs of the body before the state.
    skip: usize,
}

fn iterate(
    walk: &Walk<'_>,
    body: &GraphProto,
    rounds: Rounds,
    scope: &Scope<'_>,
    held: u64,
) -> Result<Made, Stop> {
    let Rounds {
        steps,
        mut state,
        first,
        last,
        skip,
    } = rounds;
    let mut inside = 0;
    let mut stacked: Vec<Value> = Vec::new();
    // With what may be after any number of steps.
    for _ in 0..steps {
        let inputs = first.iter().chain(&state).chain(&last).cloned().collect();
        let made = run(walk, body, inputs, scope, held)?;
        inside = made.inside.max(inside);
        let mut values = made.values.into_iter().skip(skip);
        let next: Vec<Value> = values.by_ref().take(state.len()).collect();
        let scans: Vec<Value> = values.collect();
        let joined: Vec<Value> = state
            .iter()
            .zip(&next)
            .map(|(a, b)| widened(a, b))
            .collect();
        let stacked_before = std::mem::replace(&mut stacked, scans);
        if stacked.len() == stacked_before.len() {
            stacked = stacked
                .iter()
                .zip(&stacked_before)
                .map(|(a, b)| widened(a, b))
                .collect();
        }
        if joined == state && stacked == stacked_before {
            break;
        }
        state = joined;
    }
    for value in &mut stacked {
        if let Some(dims) = &mut value.stated.dims {
            dims.insert(0, Some(steps));
        }
        value.at_most = true;
        // The parts are held until they are put together.
        inside = inside.saturating_add(value.bytes().unwrap_or(0));
    }
    state.extend(stacked);
    Ok(Made {
        values: state,
        inside,
    })
}

/// [`either`], with contents that are the same or unknown, so that it comes to an end.
fn widened(a: &Value, b: &Value) -> Value {
    let mut both = either(a, b);
    if a.contents != b.contents {
        both.contents = None;
    }
    both
}

/// The body of a function, on the inputs of a node that names it.
pub(super) fn function(
    walk: &Walk<'_>,
    function: &FunctionProto,
    node: &NodeProto,
    scope: &Scope<'_>,
    held: u64,
) -> Result<Made, Stop> {
    let parametric = |node: &NodeProto| node.attribute.iter().any(|a| a.ref_attr_name.is_some());
    if function.node.iter().any(parametric) {
        // What its nodes do depends on attributes that they take from outside.
        let values = vec![Value::default(); node.output.len()];
        return Ok(Made { values, inside: 0 });
    }
    let schedule = Schedule::new(function.node.clone(), None);
    let mut inner = Scope::default();
    let mut given = node.input.iter();
    for formal in &function.input {
        let value = given.next().and_then(|name| scope.value(name));
        inner
            .known
            .insert(formal, value.cloned().unwrap_or_default());
    }
    let peak = walk.schedule(&schedule, &mut inner, held)?;
    let outputs = function.output.iter();
    Ok(Made {
        values: outputs
            .map(|name| inner.value(name).cloned().unwrap_or_default())
            .collect(),
        inside: peak.bytes.saturating_sub(held),
    })
}

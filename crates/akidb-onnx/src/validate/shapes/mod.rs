//! Types and shapes that follow from the operators, against those that the file states.
//!
//! What is not known stays unknown: a finding is made only where two things that are known
//! contradict each other.

mod contrib;
mod elements;
mod layout;
pub(crate) mod node;
mod products;
mod selection;
mod sequences;
mod windows;

use std::collections::HashMap;

use super::{Finding, MOST, Severity, opset_version};
use crate::error::shorten;
use crate::model::{OnnxModel, is_op, node_name};
use crate::proto::NodeProto;
use crate::proto::tensor_proto::DataType;
use crate::stated::Stated;
use node::{Node, Values};

/// Axes of a shape; `None` for one whose length isn't known.
pub(crate) type Dims = Vec<Option<i64>>;

/// What follows for the outputs of a node, or how its inputs contradict each other.
pub(crate) type Inferred = Result<Vec<Stated>, String>;

/// Most values of a constant that is read for a shape.
const MAX_VALUES: usize = 64;

/// Before this opset, `Add` and its like were told how to broadcast.
const FIRST_OPSET: i64 = 7;

/// Infers types and shapes node by node, and adds what contradicts the file to `findings`.
pub(super) fn check(model: &OnnxModel, findings: &mut Vec<Finding>) {
    if opset_version(model).is_some_and(|version| version < FIRST_OPSET) {
        return;
    }
    let graph = model.graph();
    let stated = graph.value_info.iter().chain(&graph.output);
    let stated: HashMap<&str, Stated> = stated.map(|v| (v.name(), Stated::of(v))).collect();
    let initializers = graph.initializer.iter();
    let mut file = FileValues {
        model,
        known: initializers
            .map(|tensor| (tensor.name(), Stated::of_constant(tensor)))
            .collect(),
    };
    for input in model.inputs() {
        let stated = with_positive_dims(Stated::of(input));
        file.known.insert(input.name(), stated);
    }
    let mut found = Vec::new();
    for node in model.nodes() {
        let inferred = match infer_unless_function(&file, node) {
            Ok(outputs) => outputs,
            Err(why) => {
                found.push(finding(node, &why));
                Vec::new()
            }
        };
        let mut inferred = inferred.into_iter();
        for name in &node.output {
            let mut value = inferred.next().unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            // Of constants, which tell it themselves, ONNX Runtime GenAI states the shape of a scalar.
            if let Some(stated) = stated
                .get(name.as_str())
                .filter(|_| !is_op(node, "", "Constant"))
            {
                let stated = with_positive_dims(stated.clone());
                if let Some(why) = contradiction(&stated, &value) {
                    let why = format!("{:?} is stated {why}", shorten(name));
                    found.push(finding(node, &why));
                }
                value = merged(value, stated);
            }
            file.known.insert(name.as_str(), value);
        }
        if found.len() >= MOST {
            break;
        }
    }
    findings.append(&mut found);
}

/// What a file says of values: types and shapes, and the integers of its constants.
struct FileValues<'a> {
    model: &'a OnnxModel,
    known: HashMap<&'a str, Stated>,
}

impl Values for FileValues<'_> {
    fn stated(&self, name: &str) -> Option<&Stated> {
        self.known.get(name)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        constant_ints(self.model, name, MAX_VALUES)
    }
}

/// The values of a constant of integers, unless they are more than `most`.
pub(crate) fn constant_ints(model: &OnnxModel, name: &str, most: usize) -> Option<Vec<i64>> {
    let proto = model.initializer_proto(name);
    let longer = |dim: &i64| usize::try_from(*dim).is_ok_and(|dim| dim > most);
    if proto.is_some_and(|tensor| tensor.dims.iter().any(longer)) {
        return None;
    }
    // A broken constant is another check's finding.
    let tensor = model.constant(name).ok()??;
    (tensor.len() <= most)
        .then(|| tensor.to_i64_vec().ok())
        .flatten()
}

/// Nothing is known of an operator that the file itself defines.
fn infer_unless_function(file: &FileValues<'_>, node: &NodeProto) -> Inferred {
    let mut functions = file.model.proto().functions.iter();
    match functions.any(|f| f.name() == node.op_type() && f.domain() == node.domain()) {
        true => Ok(Vec::new()),
        false => infer(&Node::new(file, node)).unwrap_or_else(|| Ok(Vec::new())),
    }
}

fn finding(node: &NodeProto, why: &str) -> Finding {
    Finding::new(
        Severity::Error,
        format!(
            "node {:?} ({}): {why}",
            shorten(node_name(node)),
            shorten(node.op_type())
        ),
        "export the model again",
    )
}

/// Some exporters write -1 or 0 for an axis of variable length.
fn with_positive_dims(mut stated: Stated) -> Stated {
    for dim in stated.dims.iter_mut().flatten() {
        *dim = dim.filter(|&len| len > 0);
    }
    stated
}

/// What is stated otherwise than it was inferred.
fn contradiction(stated: &Stated, inferred: &Stated) -> Option<String> {
    if let (Some(stated), Some(inferred)) = (stated.elem_type, inferred.elem_type)
        && stated != inferred
    {
        return Some(format!("as {}, it is {}", name(stated), name(inferred)));
    }
    let (stated, inferred) = (stated.dims.as_ref()?, inferred.dims.as_ref()?);
    let agree = stated.len() == inferred.len()
        && stated.iter().zip(inferred).all(|(stated, inferred)| {
            // A length of 0 may stand for a variable one.
            stated.is_none() || inferred.is_none() || stated == inferred || *inferred == Some(0)
        });
    (!agree).then(|| format!("with shape {}, it has {}", shape(stated), shape(inferred)))
}

/// Everything that either knows, `first` before `second`.
fn merged(first: Stated, second: Stated) -> Stated {
    let dims = match (first.dims, second.dims) {
        (Some(first), Some(second)) if first.len() == second.len() => {
            let both = first.into_iter().zip(second);
            Some(both.map(|(first, second)| first.or(second)).collect())
        }
        (first, second) => first.or(second),
    };
    Stated {
        elem_type: first.elem_type.or(second.elem_type),
        dims,
    }
}

/// Types and shapes of a node's outputs, those that are known; `None` of an operator that isn't.
pub(crate) fn infer(node: &Node<'_>) -> Option<Inferred> {
    match node.domain() {
        "" => elements::infer(node)
            .or_else(|| products::infer(node))
            .or_else(|| layout::infer(node))
            .or_else(|| selection::infer(node))
            .or_else(|| windows::infer(node))
            .or_else(|| sequences::infer(node))
            .or_else(|| contrib::infer(node)),
        "com.microsoft" => contrib::infer(node),
        _ => None,
    }
}

/// A value of this type and shape.
fn value(elem_type: Option<DataType>, dims: Option<Dims>) -> Stated {
    Stated { elem_type, dims }
}

/// The type that two inputs share.
fn same_type(node: &Node<'_>, a: usize, b: usize) -> Result<Option<DataType>, String> {
    let types = (node.elem_type(a), node.elem_type(b));
    if let (Some(first), Some(second)) = types
        && first != second
    {
        return Err(format!(
            "{} is {}, {} is {}",
            node.input_name(a),
            name(first),
            node.input_name(b),
            name(second)
        ));
    }
    Ok(types.0.or(types.1))
}

/// The axis that `axis` means among `rank`: negative ones count from the end.
fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let rank = i64::try_from(rank).unwrap_or(i64::MAX);
    let positive = if axis < 0 {
        axis.saturating_add(rank)
    } else {
        axis
    };
    match usize::try_from(positive) {
        Ok(axis) if positive < rank => Ok(axis),
        _ => Err(format!("axis {axis} of a value with {rank} axes")),
    }
}

/// The ONNX name of a type, such as `float16`.
fn name(elem_type: DataType) -> String {
    format!("{elem_type:?}").to_lowercase()
}

fn shape(dims: &[Option<i64>]) -> String {
    const SHOWN: usize = 8;
    let shown = dims.iter().take(SHOWN);
    let mut shown: Vec<String> = shown
        .map(|dim| dim.map_or_else(|| "?".to_owned(), |len| len.to_string()))
        .collect();
    if dims.len() > SHOWN {
        shown.push("…".to_owned());
    }
    format!("[{}]", shown.join(", "))
}

//! Is an ONNX file as ONNX asks, beyond what [`OnnxModel::open`] refuses?

mod operators;
pub(crate) mod shapes;

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::constant::is_external;
use crate::error::{ErrorKind, shorten};
use crate::model::{OnnxModel, node_name};
use crate::proto::tensor_proto::DataType as ProtoDataType;
use crate::proto::{NodeProto, type_proto};
use crate::tensor::DataType;

/// Oldest opset that runtimes still read.
const OLDEST_OPSET: i64 = 7;
/// Most findings of one kind: a hostile file can have one a node.
const MOST: usize = 20;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Fine, but good to know.
    Note,
    /// It may run, or give other vectors than it should.
    Warning,
    /// It is broken.
    Error,
}

/// One thing found in a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Finding {
    /// A finding of this severity.
    pub fn new(severity: Severity, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            hint: hint.into(),
        }
    }
}

/// What is wrong with `model`, or worth knowing: order of the nodes, opsets, operators, external
/// data, and types and shapes that the file states twice or otherwise than they follow from the
/// operators. What an operator not known here makes is unknown, and no finding.
pub fn validate(model: &OnnxModel) -> Vec<Finding> {
    let mut findings = Vec::new();
    order(model, &mut findings);
    opset(model, &mut findings);
    operators(model, &mut findings);
    constants(model, &mut findings);
    stated_twice(model, &mut findings);
    shapes::check(model, &mut findings);
    findings
}

/// ONNX asks for nodes after those that they read from.
fn order(model: &OnnxModel, findings: &mut Vec<Finding>) {
    let mut produced: HashSet<&str> = HashSet::new();
    let early = model.nodes().iter().filter(|node| {
        let from_node = |name: &&String| model.producer(name).is_some();
        let early = node
            .input
            .iter()
            .filter(from_node)
            .any(|name| !produced.contains(name.as_str()));
        produced.extend(node.output.iter().map(String::as_str));
        early
    });
    for node in early.take(MOST) {
        findings.push(Finding::new(
            Severity::Error,
            format!(
                "node {:?} comes before a node that it reads from",
                shorten(node_name(node))
            ),
            "sort the nodes, for example by exporting the model again",
        ));
    }
}

/// Version of ONNX's own operators.
fn opset_version(model: &OnnxModel) -> Option<i64> {
    let imports = &model.proto().opset_import;
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    imports
        .iter()
        .find(|import| own(import.domain()))
        .map(|import| import.version())
}

fn opset(model: &OnnxModel, findings: &mut Vec<Finding>) {
    match opset_version(model) {
        Some(version) if version < OLDEST_OPSET => findings.push(Finding::new(
            Severity::Warning,
            format!("opset {version} is older than {OLDEST_OPSET}"),
            "convert the file with onnx.version_converter, or export the model again",
        )),
        Some(version) if version > operators::NEWEST_OPSET => findings.push(Finding::new(
            Severity::Warning,
            format!(
                "opset {version} is newer than {}, the newest known here",
                operators::NEWEST_OPSET
            ),
            "export the model with an older opset if it does not run",
        )),
        _ => {}
    }
}

fn operators(model: &OnnxModel, findings: &mut Vec<Finding>) {
    let opset = opset_version(model).unwrap_or(operators::NEWEST_OPSET);
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for node in model.nodes() {
        let domain = match node.domain() {
            "ai.onnx" => "",
            other => other,
        };
        *counts.entry((domain, node.op_type())).or_default() += 1;
    }
    let functions = model.proto().functions.iter();
    let functions: HashSet<(&str, &str)> = functions.map(|f| (f.domain(), f.name())).collect();
    let mut contrib = Vec::new();
    let mut unknown = Vec::new();
    for ((domain, op_type), nodes) in counts {
        if functions.contains(&(domain, op_type)) {
            continue;
        }
        let name = match domain {
            "" => shorten(op_type),
            domain => shorten(&format!("{domain}:{op_type}")),
        };
        match (domain, since(op_type)) {
            ("", Some(since)) if since <= opset => {}
            ("", _)
                if operators::CONTRIB_WITHOUT_DOMAIN
                    .binary_search(&op_type)
                    .is_ok() =>
            {
                contrib.push(format!("{name} {nodes}"));
            }
            ("", Some(since)) => unknown.push(Finding::new(
                Severity::Error,
                format!("{name} ({nodes} nodes) came with opset {since}, the file is of {opset}"),
                "export the model again",
            )),
            ("com.microsoft", _) if operators::CONTRIB.binary_search(&op_type).is_ok() => {
                contrib.push(format!("{name} {nodes}"));
            }
            ("", None) => unknown.push(Finding::new(
                Severity::Error,
                format!("{name} ({nodes} nodes) is no operator of ONNX"),
                "export the model again",
            )),
            _ => unknown.push(Finding::new(
                Severity::Warning,
                format!("{name} ({nodes} nodes) is of a domain or name not known here"),
                "it runs only where its library is loaded",
            )),
        }
    }
    unknown.truncate(MOST);
    findings.append(&mut unknown);
    if !contrib.is_empty() {
        findings.push(Finding::new(
            Severity::Note,
            format!("contrib operators: {}", contrib.join(", ")),
            "ONNX Runtime has them; onnx.checker may refuse them, which is fine",
        ));
    }
}

/// The opset that brought an operator of ONNX.
fn since(op_type: &str) -> Option<i64> {
    let found = operators::ONNX.binary_search_by_key(&op_type, |&(name, _)| name);
    found.ok().map(|i| operators::ONNX[i].1)
}

fn constants(model: &OnnxModel, findings: &mut Vec<Finding>) {
    let tensors = model.graph().initializer.iter();
    // Of other types nothing is read here.
    let readable = tensors.filter(|t| DataType::from_onnx(t.data_type.unwrap_or(0)).is_some());
    let broken = readable.filter_map(|tensor| match model.initializer(tensor.name()) {
        Ok(_) => None,
        Err(error) => Some((tensor, error)),
    });
    for (tensor, error) in broken.take(MOST) {
        let hint = match error.kind() {
            ErrorKind::External { .. } if is_external(tensor) => {
                "download the file with the weights again, beside the .onnx file and under its \
                 own name"
            }
            _ => "download or export the model again",
        };
        findings.push(Finding::new(
            Severity::Error,
            error.kind().to_string(),
            hint,
        ));
    }
}

/// Types and shapes of constants that are stated a second time.
fn stated_twice(model: &OnnxModel, findings: &mut Vec<Finding>) {
    let graph = model.graph();
    let stated = graph
        .value_info
        .iter()
        .chain(&graph.input)
        .chain(&graph.output);
    let contradictions = stated.filter_map(|value| {
        let tensor = model.initializer_proto(value.name())?;
        let Some(type_proto::Value::TensorType(stated)) = value.r#type.as_ref()?.value.as_ref()
        else {
            return None;
        };
        let elem_type = stated.elem_type.unwrap_or(0);
        let other_type = elem_type != ProtoDataType::Undefined as i32
            && elem_type != tensor.data_type.unwrap_or(0);
        let other_rank = stated
            .shape
            .as_ref()
            .is_some_and(|shape| shape.dim.len() != tensor.dims.len());
        (other_type || other_rank).then_some(value)
    });
    for value in contradictions.take(MOST) {
        findings.push(Finding::new(
            Severity::Error,
            format!(
                "{:?} is stated with another type or number of axes than it has",
                shorten(value.name())
            ),
            "export the model again",
        ));
    }
    let mut names: HashSet<&str> = HashSet::new();
    let named = model.nodes().iter().filter(|node| !node.name().is_empty());
    let twice: Vec<&NodeProto> = named.filter(|node| !names.insert(node.name())).collect();
    if let Some(first) = twice.first() {
        findings.push(Finding::new(
            Severity::Note,
            format!(
                "{} nodes have the name of another, such as {:?}",
                twice.len(),
                shorten(first.name())
            ),
            "nothing: names are only for people",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        assert!(operators::ONNX.is_sorted());
        assert!(operators::CONTRIB.is_sorted());
        assert!(operators::CONTRIB_WITHOUT_DOMAIN.is_sorted());
        assert_eq!(since("RMSNormalization"), Some(23));
        assert_eq!(since("MatMulNBits"), None);
    }
}

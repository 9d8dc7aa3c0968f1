//! Does the provider take this node, and if not, why?

use std::collections::HashMap;

use super::operators::{MAX_DIMENSION, MAX_RANK, OPERATORS, Operator, Restriction};
use akidb_onnx::model::{OnnxModel, is_op};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{AttributeProto, NodeProto};
use akidb_onnx::shorten;
use akidb_onnx::stated::Stated;

/// Judges the nodes of one graph.
pub(super) struct Judge<'m> {
    model: &'m OnnxModel,
    known: HashMap<&'m str, Stated>,
}

/// What is to be said of one node.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Why it is refused; empty when it is taken.
    pub(super) refused: Vec<String>,
    /// What to know of a node that is taken.
    pub(super) notes: Vec<String>,
    /// An input has a variable axis.
    pub(super) variable: bool,
    /// The file says no shape of an input.
    pub(super) unknown: bool,
}

impl<'m> Judge<'m> {
    pub(super) fn new(model: &'m OnnxModel) -> Self {
        let graph = model.graph();
        let infos = graph.value_info.iter().chain(&graph.output);
        let infos = infos.chain(&graph.input);
        let infos = infos.map(|value| (value.name(), Stated::of(value)));
        let constants = graph.initializer.iter();
        let constants = constants.map(|tensor| (tensor.name(), Stated::of_constant(tensor)));
        Self {
            model,
            known: infos.chain(constants).collect(),
        }
    }

    pub(super) fn node(&self, node: &NodeProto) -> Judgement {
        let mut judgement = Judgement::default();
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            self.input(name, &mut judgement);
        }
        let row = OPERATORS
            .iter()
            .find(|row| is_op(node, row.domain, row.op_type));
        match row {
            None => judgement.refused.insert(0, "not in the table".into()),
            Some(row) => self.row(node, row, &mut judgement),
        }
        judgement
    }

    /// The limits that hold for every input of every node.
    fn input(&self, name: &str, judgement: &mut Judgement) {
        let Some(dims) = self.dims(name) else {
            judgement.unknown |= !self.is_constant(name);
            return;
        };
        judgement.variable |= dims.iter().any(Option::is_none);
        if let Some(dim) = dims.iter().flatten().find(|&&dim| dim > MAX_DIMENSION) {
            judgement.refused.push(format!(
                "an axis of {:?} is {dim} long, more than {MAX_DIMENSION}",
                shorten(name)
            ));
        }
        if dims.len() > MAX_RANK {
            judgement.refused.push(format!(
                "{:?} has {} axes, more than {MAX_RANK}",
                shorten(name),
                dims.len()
            ));
        }
    }

    fn row(&self, node: &NodeProto, row: &Operator, judgement: &mut Judgement) {
        let first = node.input.first().map_or("", String::as_str);
        if let Some(elem_type) = self.known.get(first).and_then(|k| k.elem_type)
            && !row.types.contains(&elem_type)
        {
            judgement
                .refused
                .push(format!("input 0 is {}", name_of(elem_type)));
        }
        for restriction in row.restrictions {
            match self.broken(node, restriction) {
                Some(Broken::Refused(why)) => judgement.refused.push(why),
                Some(Broken::Differs(note)) => judgement.notes.push(note.to_owned()),
                None => {}
            }
        }
    }

    fn broken(&self, node: &NodeProto, restriction: &Restriction) -> Option<Broken> {
        let input = |i: usize| node.input.get(i).filter(|name| !name.is_empty());
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name() == name);
        let why = match *restriction {
            Restriction::Constant(i) => {
                let name = input(i)?;
                (!self.is_constant(name)).then(|| format!("input {i} is not a constant"))
            }
            Restriction::Rank(i, ranks) => {
                let rank = self.dims(input(i)?)?.len();
                (!ranks.contains(&rank)).then(|| format!("input {i} has {rank} axes"))
            }
            Restriction::F32(i) => {
                let elem_type = self.known.get(input(i)?.as_str())?.elem_type?;
                (elem_type != DataType::Float)
                    .then(|| format!("input {i} is {}", name_of(elem_type)))
            }
            Restriction::Static(i) => {
                let dims = self.dims(input(i)?)?;
                let variable = dims.iter().any(Option::is_none);
                variable.then(|| format!("input {i} has a variable axis"))
            }
            Restriction::Int(name, value) => {
                let found = attribute(name)?.i();
                (found != value).then(|| format!("{name} is {found}, not {value}"))
            }
            Restriction::Float(name, value) => {
                let found = attribute(name)?.f();
                (found != value).then(|| format!("{name} is {found}, not {value}"))
            }
            Restriction::Absent(name) => attribute(name).map(|_| format!("it has {name}")),
            Restriction::NotString(name, words) => {
                let found = text(attribute(name)?);
                words
                    .contains(&found.as_str())
                    .then(|| format!("{name} is {found}"))
            }
            Restriction::FromNode(i) => {
                let constant_or_input = self.model.producer(input(i)?).is_none();
                constant_or_input.then(|| format!("input {i} comes from no node"))
            }
            Restriction::Differs(note) => return Some(Broken::Differs(note)),
        };
        why.map(Broken::Refused)
    }

    fn dims(&self, name: &str) -> Option<&[Option<i64>]> {
        self.known.get(name)?.dims.as_deref()
    }

    /// ONNX Runtime makes initializers of `Constant` nodes.
    pub(super) fn is_constant(&self, name: &str) -> bool {
        self.model.initializer_proto(name).is_some()
            || self.model.producer(name).is_some_and(is_constant_node)
    }
}

/// True for a node that stands for an initializer.
pub(super) fn is_constant_node(node: &NodeProto) -> bool {
    is_op(node, "", "Constant")
}

enum Broken {
    Refused(String),
    Differs(&'static str),
}

fn text(attribute: &AttributeProto) -> String {
    let bytes = attribute.s.as_deref().unwrap_or_default();
    shorten(&String::from_utf8_lossy(bytes))
}

fn name_of(elem_type: DataType) -> String {
    match elem_type {
        DataType::Float => "f32".into(),
        DataType::Float16 => "f16".into(),
        DataType::Int32 => "i32".into(),
        DataType::Int64 => "i64".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

//! What a run of a graph holds in memory at once, found out before it runs.
//!
//! A graph is a program: a few bytes can ask for a tensor that fills the machine. So the shapes of
//! all values are followed through the operators, from those of the inputs on, with the integers that
//! become shapes. What depends on the inputs' values is counted as the most that it can be.

mod arithmetic;
mod contents;
mod detached;
mod evaluate;
mod order;
mod outputs;
mod walk;

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, shorten};
use crate::model::{OnnxModel, node_name};
use crate::proto::tensor_proto::DataType;
use crate::proto::{FunctionProto, NodeProto};
use crate::stated::Stated;
use crate::validate::shapes::node::Values;
use contents::Contents;
use detached::Constants;
use order::Schedule;
use walk::{Reason, Stop, Walk};

/// An input of a run.
#[derive(Debug, Clone)]
pub struct RunInput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub dims: Vec<usize>,
    /// What it is made of.
    pub elem_type: DataType,
    /// The largest of its values, where these are integers; they are not negative.
    pub most: Option<i64>,
}

/// The moment of a run at which it holds the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    /// Bytes of the values between nodes, weights aside.
    pub bytes: u64,
    /// The node that runs then, and its operator.
    pub node: String,
}

/// A graph, as far as it decides on the memory of a run. Nothing of the model's file is kept.
#[derive(Debug)]
pub struct RunMemory {
    schedule: Schedule,
    functions: Vec<FunctionProto>,
    constants: Constants,
    /// Whether the memory of every operator must be known.
    strict: bool,
}

impl RunMemory {
    /// Of the nodes that `output` needs, for an engine whose operators are all known here: a value
    /// whose shape can't be told is refused.
    pub fn of_output(model: &OnnxModel, output: &str) -> Self {
        Self::new(model, Some(output), true)
    }

    /// Of all nodes, for an engine that has operators which are not known here: what these make is
    /// not counted.
    pub fn of_all(model: &OnnxModel) -> Self {
        Self::new(model, None, false)
    }

    fn new(model: &OnnxModel, output: Option<&str>, strict: bool) -> Self {
        Self {
            schedule: Schedule::new(model.nodes().iter().map(detached::node).collect(), output),
            functions: match strict {
                true => Vec::new(),
                false => detached::functions(model),
            },
            constants: detached::constants(model),
            strict,
        }
    }

    /// The most that a run on `inputs` holds, if that is at most `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] when it would be more, or can't be told, or shapes contradict each other.
    pub fn peak(&self, inputs: &[RunInput<'_>], limit: u64) -> Result<Peak, Error> {
        let mut scope = Scope {
            constants: Some(&self.constants),
            ..Scope::default()
        };
        for input in inputs {
            scope.known.insert(input.name, Value::of_input(input));
        }
        let walk = Walk::new(&self.functions, self.strict, limit);
        match walk.schedule(&self.schedule, &mut scope, 0) {
            Ok(peak) => Ok(peak),
            Err(Stop {
                reason: Reason::Lacking,
                node,
                ..
            }) => Ok(Peak { bytes: 0, node }),
            Err(Stop { node, why, .. }) => Err(ErrorKind::Run { node, why }.into()),
        }
    }
}

/// The node's name and operator, for messages.
fn described(node: &NodeProto) -> String {
    format!(
        "{:?} ({})",
        shorten(node_name(node)),
        shorten(node.op_type())
    )
}

/// What is known of a value.
#[derive(Debug, Clone, Default, PartialEq)]
struct Value {
    stated: Stated,
    contents: Option<Contents>,
    /// Whether it may be smaller than its shape says.
    at_most: bool,
    /// Whether it needs an input that isn't given, so that no engine will compute it.
    absent: bool,
}

impl Value {
    fn of_input(input: &RunInput<'_>) -> Self {
        let dims = input.dims.iter().map(|&dim| i64::try_from(dim).ok());
        Self::new(Stated {
            elem_type: Some(input.elem_type),
            dims: Some(dims.collect()),
        })
        .holding(input.most.map(|most| Contents::Within(0, most)))
    }

    /// Of this type and shape. Engines convert between the widths of a type, so that two widths are
    /// no contradiction here.
    fn new(mut stated: Stated) -> Self {
        use DataType as D;
        stated.elem_type = stated.elem_type.map(|elem_type| match elem_type {
            D::Float16 | D::Bfloat16 | D::Double => D::Float,
            D::Int8 | D::Uint8 | D::Int16 | D::Uint16 | D::Int32 | D::Uint32 | D::Uint64 => {
                D::Int64
            }
            other => other,
        });
        Self {
            stated,
            ..Self::default()
        }
    }

    fn absent() -> Self {
        Self {
            absent: true,
            ..Self::default()
        }
    }

    fn holding(self, contents: Option<Contents>) -> Self {
        Self { contents, ..self }
    }

    /// What it takes; `None` where its shape isn't known. Of floats and truth values the wider of
    /// what engines make of them, of integers 64 bits.
    fn bytes(&self) -> Option<u64> {
        let width = match self.stated.elem_type {
            Some(DataType::Float | DataType::Bool) => 4,
            _ => 8,
        };
        let dims = self.stated.dims.as_ref()?.iter();
        dims.copied().try_fold(width, |bytes: u64, dim| {
            Some(bytes.saturating_mul(u64::try_from(dim?).unwrap_or(0)))
        })
    }
}

/// The values of a graph, and of those around it.
#[derive(Debug, Default)]
struct Scope<'a> {
    known: HashMap<&'a str, Value>,
    constants: Option<&'a Constants>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        let outer = || self.outer.and_then(|outer| outer.value(name));
        let constant = || self.constants.and_then(|constants| constants.get(name));
        self.known.get(name).or_else(constant).or_else(outer)
    }
}

impl Values for Scope<'_> {
    fn stated(&self, name: &str) -> Option<&Stated> {
        Some(&self.value(name)?.stated)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let contents = self.value(name)?.contents.as_ref()?;
        contents.exact().map(<[i64]>::to_vec)
    }
}

/// A [`Scope`] in which integers are the most that they can be.
struct Most<'a>(&'a Scope<'a>);

impl Values for Most<'_> {
    fn stated(&self, name: &str) -> Option<&Stated> {
        self.0.stated(name)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let value = self.0.value(name)?;
        match value.contents.as_ref()? {
            Contents::Exact(values) => Some(values.clone()),
            &Contents::Within(_, most) => {
                let dims = value.stated.dims.as_ref()?;
                let count = dims.iter().try_fold(1usize, |count, dim| {
                    count.checked_mul(usize::try_from((*dim)?).ok()?)
                });
                let count = count.filter(|count| *count <= contents::MAX_EXACT)?;
                Some(vec![most; count])
            }
        }
    }
}

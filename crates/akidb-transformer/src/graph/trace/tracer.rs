//! What is known of a graph's values so far.

use std::collections::HashMap;
use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType as ProtoDataType;
use akidb_onnx::proto::{NodeProto, TensorProto};
use akidb_onnx::tensor::Tensor;

use super::array::{Array, Kind, len_of};
use super::expr::{Expr, Id, Value};
use super::sample::Sample;
use super::view::View;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{attribute, not_recognised};

/// Longest constant whose elements are read.
const MAX_CONSTANT: usize = 1 << 16;

/// What is known of the values of a graph, and the expressions that they are of.
pub(super) struct Tracer<'m> {
    pub(super) model: &'m OnnxModel,
    /// Reads the weights of linear layers.
    pub(super) recogniser: Recogniser<'m>,
    pub(super) sample: Sample,
    pub(super) exprs: Vec<Expr>,
    dims: Vec<Vec<usize>>,
    values: HashMap<&'m str, Value>,
    /// By tokens, what heads gathered.
    gathered: HashMap<Id, Id>,
    /// Expressions of moved elements.
    views: HashMap<(Id, View), Id>,
    /// Elements of all known arrays.
    pub(super) known: usize,
    /// The largest number that positions are compared with or shifted by, as far as a window may reach.
    pub(super) reach: usize,
}

impl<'m> Tracer<'m> {
    pub(super) fn new(model: &'m OnnxModel, sample: Sample) -> Self {
        Self {
            model,
            recogniser: Recogniser::new(model),
            sample,
            exprs: Vec::new(),
            dims: Vec::new(),
            values: HashMap::new(),
            gathered: HashMap::new(),
            views: HashMap::new(),
            known: 0,
            reach: 0,
        }
    }

    /// Keeps what a node's outputs are.
    pub(super) fn set(&mut self, node: &'m NodeProto, values: Vec<Value>) {
        for (output, value) in node.output.iter().zip(values) {
            self.values.insert(output, value);
        }
    }

    /// A value that was found before, an input, or an initializer.
    pub(super) fn value(&self, name: &str) -> Result<Value, Error> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if let Some(proto) = self.model.initializer_proto(name) {
            if let Some(array) = other_type(proto) {
                return Ok(Value::Known(Rc::new(array)));
            }
            if let Some(tensor) = self.model.initializer(name)? {
                return Ok(Value::Constant(tensor));
            }
        }
        if self.model.producer(name).is_some() {
            let why = "it has no such output, or comes too late";
            return Err(not_recognised(name, "value", why));
        }
        let declared = self.model.inputs().find(|input| input.name() == name);
        match self.sample.input(name, declared) {
            Some(array) => Ok(Value::Known(Rc::new(array))),
            None => Err(not_recognised(name, "graph input", "it is no known input")),
        }
    }

    /// The output of a `Constant`.
    pub(super) fn constant_node(&self, node: &NodeProto, output: &str) -> Result<Value, Error> {
        let proto = attribute(node, "value").and_then(|a| a.t.as_ref());
        if let Some(array) = proto.and_then(|proto| other_type(proto)) {
            return Ok(Value::Known(Rc::new(array)));
        }
        let constant = self.model.constant(output)?;
        Ok(constant.map_or(Value::Opaque, Value::Constant))
    }

    /// The elements of a value that has any.
    pub(super) fn known(&self, value: &Value) -> Result<Option<Rc<Array>>, Error> {
        let tensor = match value {
            Value::Known(array) => return Ok(Some(Rc::clone(array))),
            Value::Constant(tensor) if tensor.len() <= MAX_CONSTANT => tensor,
            _ => return Ok(None),
        };
        let (kind, data) = match tensor.dtype().is_float() {
            true => (
                Kind::Float,
                tensor.to_f32_vec()?.into_iter().map(f64::from).collect(),
            ),
            false => match tensor.to_i64_vec() {
                Ok(ints) => (Kind::Int, ints.into_iter().map(|x| x as f64).collect()),
                Err(_) => return Ok(None),
            },
        };
        Ok(Array::new(kind, tensor.dims().to_vec(), data).map(Rc::new))
    }

    /// The only element of a known value.
    pub(super) fn scalar(&self, value: &Value) -> Result<Option<f64>, Error> {
        let is_one = match value {
            Value::Known(array) => array.data.len() == 1,
            Value::Constant(tensor) => tensor.len() == 1,
            _ => false,
        };
        match is_one {
            true => Ok(self.known(value)?.and_then(|array| array.scalar())),
            false => Ok(None),
        }
    }

    /// A constant of as many floats as the last axis of `dims`, whatever its other axes.
    pub(super) fn vector(&self, value: &Value, width: usize) -> Result<Option<Tensor>, Error> {
        let Value::Constant(tensor) = value else {
            return Ok(None);
        };
        if tensor.len() != width
            || !tensor.dtype().is_float()
            || tensor.dims().last() != Some(&width)
        {
            return Ok(None);
        }
        let data = tensor.data().clone();
        Tensor::new(tensor.name(), tensor.dtype(), vec![width], data).map(Some)
    }

    /// A new expression, of these axes.
    pub(super) fn put(&mut self, expr: Expr, dims: Vec<usize>) -> Value {
        let id = Id(self.exprs.len());
        let view = View::whole(&dims);
        self.exprs.push(expr);
        self.dims.push(dims);
        Value::Part(id, view)
    }

    pub(super) fn expr(&self, id: Id) -> &Expr {
        &self.exprs[id.0]
    }

    pub(super) fn dims(&self, id: Id) -> &[usize] {
        &self.dims[id.0]
    }

    /// The axes of a value.
    pub(super) fn dims_of(&self, value: &Value) -> Option<Vec<usize>> {
        match value {
            Value::Known(array) => Some(array.dims.clone()),
            Value::Constant(tensor) => Some(tensor.dims().to_vec()),
            Value::Part(_, view) => Some(view.dims()),
            Value::Opaque => None,
        }
    }

    /// The expression that a value is all of, in order.
    pub(super) fn whole(&mut self, value: &Value) -> Option<Id> {
        let Value::Part(id, view) = value else {
            return None;
        };
        let len = self.dims(*id).iter().product();
        if view.is_whole(len) {
            return Some(*id);
        }
        if let Some(gathered) = self.by_tokens(*id, view) {
            return Some(gathered);
        }
        let key = (*id, view.clone());
        if let Some(found) = self.views.get(&key) {
            return Some(*found);
        }
        let moved = Expr::View {
            x: *id,
            view: view.clone(),
        };
        let Value::Part(moved, _) = self.put(moved, view.dims()) else {
            return None;
        };
        self.views.insert(key, moved);
        Some(moved)
    }

    /// What heads gathered, brought to `[batch, seq, heads * head_dim]`.
    fn by_tokens(&mut self, id: Id, view: &View) -> Option<Id> {
        if !matches!(self.expr(id), Expr::Attended(_)) {
            return None;
        }
        let Sample { texts, tokens } = self.sample;
        let head_dim = *self.dims(id).last()?;
        let len: usize = self.dims(id).iter().product();
        let heads = len.checked_div(texts * tokens * head_dim)?;
        let by_heads = View::whole(&[texts, heads, tokens, head_dim]);
        let by_tokens = by_heads.transpose(&[0, 2, 1, 3])?;
        if view.offset != 0 || view.runs(0..view.axes.len()) != by_tokens.runs(0..4) {
            return None;
        }
        if let Some(gathered) = self.gathered.get(&id) {
            return Some(*gathered);
        }
        let dims = vec![texts, tokens, heads * head_dim];
        let Value::Part(gathered, _) = self.put(Expr::Gathered(id), dims) else {
            return None;
        };
        self.gathered.insert(id, gathered);
        Some(gathered)
    }
}

/// Elements of the types that a [`Tensor`] can't hold.
fn other_type(proto: &TensorProto) -> Option<Array> {
    let dims: Option<Vec<usize>> = proto
        .dims
        .iter()
        .map(|dim| usize::try_from(*dim).ok())
        .collect();
    let dims = dims?;
    let len = len_of(&dims)?;
    let raw = proto.raw_data();
    let (kind, data): (Kind, Vec<f64>) = match proto.data_type() {
        ProtoDataType::Bool if raw.is_empty() => {
            let data = proto.int32_data.iter();
            (
                Kind::Bool,
                data.map(|x| f64::from(u8::from(*x != 0))).collect(),
            )
        }
        ProtoDataType::Bool => (
            Kind::Bool,
            raw.iter().map(|x| f64::from(u8::from(*x != 0))).collect(),
        ),
        ProtoDataType::Double if raw.is_empty() => (Kind::Float, proto.double_data.clone()),
        ProtoDataType::Double => {
            let data = raw.as_chunks::<8>().0.iter();
            (Kind::Float, data.map(|x| f64::from_le_bytes(*x)).collect())
        }
        _ => return None,
    };
    (data.len() == len).then_some(Array { kind, dims, data })
}

//! Goes through a graph's nodes in order and finds out what each one's outputs are.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::model::{OnnxModel, is_op};
use akidb_onnx::proto::tensor_proto::DataType as ProtoDataType;
use akidb_onnx::proto::{NodeProto, TensorProto};
use akidb_onnx::tensor::Tensor;

use super::array::{Array, Kind, len_of};
use super::assemble::assemble;
use super::expr::{Expr, Id, Value};
use super::sample::Sample;
use super::view::View;
use super::{known, moves};
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{MICROSOFT, attribute, input, not_recognised, unknown};
use crate::transformer::Transformer;

/// Elements of all known arrays together: a graph could otherwise make any number of large ones.
const MAX_KNOWN: usize = 1 << 25;

/// Farthest that a window is believed to reach.
const MAX_REACH: f64 = (1 << 24) as f64;

/// Longest constant whose elements are read.
const MAX_CONSTANT: usize = 1 << 16;

/// The model that the values behind `output` make.
pub(super) fn trace(model: &OnnxModel, output: &str, sample: Sample) -> Result<Traced, Error> {
    let mut tracer = Tracer {
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
    };
    for node in needed(model, output) {
        tracer.node(node)?;
    }
    let value = tracer.value(output)?;
    let Some(id) = tracer.whole(&value) else {
        let why = "it is not made of all tokens' states";
        return Err(not_recognised(output, "graph output", why));
    };
    Ok(Traced {
        transformer: assemble(&mut tracer, id)?,
        reach: tracer.reach,
    })
}

/// What was found.
pub(super) struct Traced {
    pub(super) transformer: Transformer,
    /// How many tokens a window may be wide.
    pub(super) reach: usize,
}

/// The nodes that `output` is made of, in the graph's order.
fn needed<'m>(model: &'m OnnxModel, output: &str) -> Vec<&'m NodeProto> {
    let mut seen: HashSet<*const NodeProto> = HashSet::new();
    let mut open: Vec<&NodeProto> = model.producer(output).into_iter().collect();
    while let Some(node) = open.pop() {
        if seen.insert(std::ptr::from_ref(node)) {
            open.extend(node.input.iter().filter_map(|value| model.producer(value)));
        }
    }
    let nodes = model.nodes().iter();
    nodes
        .filter(|node| seen.contains(&std::ptr::from_ref(*node)))
        .collect()
}

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
    known: usize,
    /// The largest number that positions are compared with or shifted by, as far as a window may reach.
    pub(super) reach: usize,
}

impl<'m> Tracer<'m> {
    fn node(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if is_op(node, "", "Constant") {
            let value = match node.output.first() {
                Some(output) => self.constant_node(node, output)?,
                None => return Ok(()),
            };
            return self.set(node, vec![value]);
        }
        let inputs = (0..node.input.len()).map(|i| match input(node, i) {
            Some(name) => self.value(name).map(Some),
            None => Ok(None),
        });
        let inputs: Vec<Option<Value>> = inputs.collect::<Result<_, Error>>()?;
        let is_symbolic = |value: &Option<Value>| matches!(value, Some(Value::Part(..)));
        if inputs.iter().any(is_symbolic) {
            let values = self.symbolic(node, &inputs)?;
            return self.set(node, values);
        }
        if let Some(value) = self.rows(node, &inputs)? {
            return self.set(node, vec![value]);
        }
        if is_op(node, MICROSOFT, "EmbedLayerNormalization") {
            let values = self.embed_layer_normalization(node, &inputs)?;
            return self.set(node, values);
        }
        let seen_through = ["Identity", "Cast", "Dropout"];
        if let [Some(value @ Value::Constant(tensor)), ..] = &inputs[..]
            && seen_through.iter().any(|op| is_op(node, "", op))
            && tensor.dtype().is_float()
        {
            return self.set(node, vec![value.clone()]);
        }
        let arrays: Result<Vec<Option<Rc<Array>>>, Error> = inputs
            .iter()
            .map(|value| value.as_ref().map_or(Ok(None), |value| self.known(value)))
            .collect();
        let arrays = arrays?;
        self.note_reach(node, &arrays);
        let given = |(array, value): (&Option<_>, &Option<_>)| array.is_some() || value.is_none();
        let all = arrays.iter().zip(&inputs).all(given);
        let values = match all.then(|| known::apply(node, &arrays)).flatten() {
            Some(arrays) => {
                self.known += arrays.iter().map(|array| array.data.len()).sum::<usize>();
                if self.known > MAX_KNOWN {
                    return Err(unknown(node, "too much is made of constants"));
                }
                arrays
                    .into_iter()
                    .map(|array| Value::Known(Rc::new(array)))
                    .collect()
            }
            // It may be the weight of a layer, which is read there.
            None => vec![Value::Opaque; node.output.len()],
        };
        self.set(node, values)
    }

    fn set(&mut self, node: &'m NodeProto, values: Vec<Value>) -> Result<(), Error> {
        for (output, value) in node.output.iter().zip(values) {
            self.values.insert(output, value);
        }
        Ok(())
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

    fn constant_node(&self, node: &NodeProto, output: &str) -> Result<Value, Error> {
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

    /// Notes how far a window may reach that positions are compared with.
    fn note_reach(&mut self, node: &NodeProto, arrays: &[Option<Rc<Array>>]) {
        const OPERATORS: [&str; 6] = [
            "Add",
            "Sub",
            "Less",
            "LessOrEqual",
            "Greater",
            "GreaterOrEqual",
        ];
        let [Some(a), Some(b)] = arrays else { return };
        let number = match (a.data.len(), b.data.len()) {
            (1, 1) => return,
            (1, _) => a.data[0],
            (_, 1) => b.data[0],
            _ => return,
        };
        let number = number.abs();
        let is_far = number > self.sample.tokens as f64 && number <= MAX_REACH;
        if OPERATORS.contains(&node.op_type()) && is_far && number.fract() == 0.0 {
            self.reach = self.reach.max(number as usize);
        }
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

    /// The outputs of a node that takes something of the model.
    fn symbolic(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let domain = match node.domain() {
            "ai.onnx" => "",
            domain => domain,
        };
        if domain == MICROSOFT {
            return self.microsoft(node, inputs);
        }
        if !domain.is_empty() {
            return Err(unknown(node, "an operator of a known domain is expected"));
        }
        match node.op_type() {
            "Shape" | "Size" => {
                let dims = inputs
                    .first()
                    .and_then(|value| self.dims_of(value.as_ref()?));
                let shape = dims.and_then(|dims| known::shape(node, &dims));
                let shape = shape.ok_or_else(|| unknown(node, "it has no shape"))?;
                Ok(vec![Value::Known(Rc::new(shape))])
            }
            "Identity" | "Cast" | "Dropout" | "CastLike" | "Reshape" | "Transpose"
            | "Unsqueeze" | "Squeeze" | "Flatten" | "Slice" | "Split" | "Gather" | "Expand"
            | "Concat" => moves::apply(self, node, inputs),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.arithmetic(node, inputs),
            "Sqrt" | "Reciprocal" | "Erf" | "Tanh" | "ReduceMean" | "IsNaN" | "Neg" | "Sigmoid" => {
                self.function(node, inputs).map(|value| vec![value])
            }
            "MatMul" | "Gemm" => self.product(node, inputs).map(|value| vec![value]),
            "DynamicQuantizeLinear" | "MatMulInteger" | "DequantizeLinear" => {
                self.quantized(node, inputs)
            }
            "Softmax" | "Where" => self.weigh(node, inputs).map(|value| vec![value]),
            "LayerNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization"
            | "Gelu"
            | "Swish"
            | "RotaryEmbedding"
            | "Attention" => self.standard(node, inputs),
            _ => Err(unknown(
                node,
                "it is no operator that an encoder is known to have",
            )),
        }
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

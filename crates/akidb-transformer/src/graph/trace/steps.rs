//! Goes through a graph's nodes in order and finds out what each one's outputs are.

use std::collections::HashSet;
use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::model::{OnnxModel, is_op};
use akidb_onnx::proto::NodeProto;

use super::array::Array;
use super::assemble::assemble;
use super::expr::Value;
use super::sample::Sample;
use super::scores::score_layers;
use super::tracer::Tracer;
use super::{known, moves};
use crate::graph::walk::{MICROSOFT, input, not_recognised, unknown};
use crate::transformer::{ScoreLayer, Transformer};

/// Elements of all known arrays together: a graph could otherwise make any number of large ones.
const MAX_KNOWN: usize = 1 << 25;

/// Farthest that a window is believed to reach.
const MAX_REACH: f64 = (1 << 24) as f64;

/// The model that the values behind `output` make.
pub(super) fn trace(
    model: &OnnxModel,
    (output, end): (&str, End),
    sample: Sample,
) -> Result<Traced, Error> {
    let mut tracer = Tracer::new(model, sample);
    for node in needed(model, output) {
        tracer.node(node)?;
    }
    let value = tracer.value(output)?;
    let Some(id) = tracer.whole(&value) else {
        let why = "it is not made of all tokens' states";
        return Err(not_recognised(output, "graph output", why));
    };
    let (layers, head, id) = match end {
        End::States => (Vec::new(), None, id),
        End::Scores => score_layers(&tracer, id)?,
    };
    let mut transformer = assemble(&mut tracer, id)?;
    if let Some(head) = head {
        transformer.head = head;
    }
    Ok(Traced {
        transformer,
        layers,
        reach: tracer.reach,
    })
}

/// What a graph's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) enum End {
    /// The last hidden states.
    States,
    /// Scores that are made of them.
    Scores,
}

/// What was found.
pub(super) struct Traced {
    pub(super) transformer: Transformer,
    /// What makes scores of its states.
    pub(super) layers: Vec<ScoreLayer>,
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

impl<'m> Tracer<'m> {
    fn node(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if is_op(node, "", "Constant") {
            let value = match node.output.first() {
                Some(output) => self.constant_node(node, output)?,
                None => return Ok(()),
            };
            self.set(node, vec![value]);
            return Ok(());
        }
        let inputs = (0..node.input.len()).map(|i| match input(node, i) {
            Some(name) => self.value(name).map(Some),
            None => Ok(None),
        });
        let inputs: Vec<Option<Value>> = inputs.collect::<Result<_, Error>>()?;
        let is_symbolic = |value: &Option<Value>| matches!(value, Some(Value::Part(..)));
        if inputs.iter().any(is_symbolic) {
            let values = self.symbolic(node, &inputs)?;
            self.set(node, values);
            return Ok(());
        }
        if let Some(value) = self.rows(node, &inputs)? {
            self.set(node, vec![value]);
            return Ok(());
        }
        if is_op(node, MICROSOFT, "EmbedLayerNormalization") {
            let values = self.embed_layer_normalization(node, &inputs)?;
            self.set(node, values);
            return Ok(());
        }
        let seen_through = ["Identity", "Cast", "Dropout"];
        if let [Some(value @ Value::Constant(tensor)), ..] = &inputs[..]
            && seen_through.iter().any(|op| is_op(node, "", op))
            && tensor.dtype().is_float()
        {
            self.set(node, vec![value.clone()]);
            return Ok(());
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
        self.set(node, values);
        Ok(())
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
            | "GatherND" | "Concat" => moves::apply(self, node, inputs),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.arithmetic(node, inputs),
            "Sqrt" | "Reciprocal" | "Erf" | "Tanh" | "ReduceMean" | "IsNaN" | "Neg" | "Sigmoid"
            | "Relu" => self.function(node, inputs).map(|value| vec![value]),
            "ReduceSum" => self.text_sum(node, inputs).map(|value| vec![value]),
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

//! Copies of a model's parts that don't hold on to its file.

use std::collections::HashMap;

use bytes::Bytes;

use super::Value;
use super::contents::{Contents, MAX_EXACT};
use crate::constant;
use crate::external::ExternalFiles;
use crate::model::OnnxModel;
use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto};
use crate::stated::Stated;
use crate::tensor::Tensor;

/// Most values of a constant that are looked through.
const MAX_READ: usize = 1 << 16;

/// Largest float up to which all integers are floats.
const MAX_INTEGER: f32 = (1 << 24) as f32;

/// What is known of a graph's initializers.
pub(super) type Constants = HashMap<String, Value>;

pub(super) fn constants(model: &OnnxModel) -> Constants {
    let initializers = model.graph().initializer.iter();
    initializers
        .map(|proto| {
            let read = || contents(&model.initializer(proto.name()).ok()??);
            let contents = if is_short(proto, MAX_READ) {
                read()
            } else {
                None
            };
            let value = Value::new(Stated::of_constant(proto)).holding(contents);
            (proto.name().to_owned(), value)
        })
        .collect()
}

/// A constant inside a graph that is detached.
pub(super) fn constant(proto: &TensorProto) -> Value {
    let read = || contents(&constant::tensor(proto, &ExternalFiles::none()).ok()?);
    let contents = if is_short(proto, MAX_EXACT) {
        read()
    } else {
        None
    };
    Value::new(Stated::of_constant(proto)).holding(contents)
}

fn contents(tensor: &Tensor) -> Option<Contents> {
    if !tensor.dtype().is_float() {
        return Contents::of(tensor.to_i64_vec().ok()?);
    }
    if tensor.len() > MAX_EXACT {
        return None;
    }
    let whole = |x: f32| (x.fract() == 0.0 && x.abs() <= MAX_INTEGER).then_some(x as i64);
    let values = tensor.to_f32_vec().ok()?;
    Contents::of(values.into_iter().map(whole).collect::<Option<_>>()?)
}

fn is_short(proto: &TensorProto, most: usize) -> bool {
    let dims = proto.dims.iter();
    let count = dims.copied().try_fold(1usize, |count, dim| {
        count.checked_mul(usize::try_from(dim).ok()?)
    });
    count.is_some_and(|count| count <= most)
}

pub(super) fn functions(model: &OnnxModel) -> Vec<FunctionProto> {
    let functions = model.proto().functions.iter();
    functions
        .map(|function| FunctionProto {
            node: function.node.iter().map(node).collect(),
            attribute_proto: Vec::new(),
            ..function.clone()
        })
        .collect()
}

pub(super) fn node(node: &NodeProto) -> NodeProto {
    NodeProto {
        input: node.input.clone(),
        output: node.output.clone(),
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        attribute: node.attribute.iter().map(attribute).collect(),
        ..Default::default()
    }
}

fn attribute(attribute: &AttributeProto) -> AttributeProto {
    AttributeProto {
        name: attribute.name.clone(),
        f: attribute.f,
        i: attribute.i,
        s: attribute.s.as_deref().map(Bytes::copy_from_slice),
        t: attribute.t.as_deref().map(tensor).map(Box::new),
        g: attribute.g.as_deref().map(graph).map(Box::new),
        floats: attribute.floats.clone(),
        ints: attribute.ints.clone(),
        r#type: attribute.r#type,
        ref_attr_name: attribute.ref_attr_name.clone(),
        ..Default::default()
    }
}

fn graph(graph: &GraphProto) -> GraphProto {
    GraphProto {
        node: graph.node.iter().map(node).collect(),
        initializer: graph.initializer.iter().map(tensor).collect(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        ..Default::default()
    }
}

/// With values only where they are few, so that a long one stands for unknown values.
fn tensor(tensor: &TensorProto) -> TensorProto {
    let kept = is_short(tensor, MAX_EXACT).then(|| TensorProto {
        raw_data: tensor.raw_data.as_deref().map(Bytes::copy_from_slice),
        ..tensor.clone()
    });
    kept.unwrap_or_else(|| TensorProto {
        name: tensor.name.clone(),
        data_type: tensor.data_type,
        dims: tensor.dims.clone(),
        ..Default::default()
    })
}

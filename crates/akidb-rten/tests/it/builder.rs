//! Small ONNX graphs, written by hand.

use akidb_backend::{BackendError, Pooling};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, type_proto,
};
use akidb_rten::{RtenModel, RtenOptions};
use prost::Message;

pub(crate) fn tensor(name: &str, dtype: DataType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(dtype as i32),
        dims: dims.to_vec(),
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, DataType::Float, dims, raw)
}

pub(crate) fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, DataType::Int64, dims, raw)
}

/// A graph's input or output; a dimension that is no number is a symbol.
pub(crate) fn value(name: &str, dtype: DataType, shape: &[&str]) -> ValueInfoProto {
    let dim = shape.iter().map(|dim| Dimension {
        value: Some(match dim.parse() {
            Ok(size) => dimension::Value::DimValue(size),
            Err(_) => dimension::Value::DimParam((*dim).into()),
        }),
        denotation: None,
    });
    let tensor_type = type_proto::Tensor {
        elem_type: Some(dtype as i32),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor_type)),
            denotation: None,
        }),
        ..Default::default()
    }
}

pub(crate) fn token_input(name: &str) -> ValueInfoProto {
    value(name, DataType::Int64, &["batch", "tokens"])
}

/// A node named after its output.
pub(crate) fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{output}/{op_type}")),
        op_type: Some(op_type.into()),
        input: inputs.iter().map(|s| (*s).into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

pub(crate) fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(AttributeType::Int as i32),
        ..Default::default()
    });
    node
}

pub(crate) fn with_ints(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(AttributeType::Ints as i32),
        ..Default::default()
    });
    node
}

pub(crate) fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        g: Some(Box::new(graph)),
        r#type: Some(AttributeType::Graph as i32),
        ..Default::default()
    });
    node
}

pub(crate) fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        graph: Some(graph),
        opset_import: [("", 21), ("com.microsoft", 1)]
            .map(|(domain, version)| OperatorSetIdProto {
                domain: Some(domain.into()),
                version: Some(version),
            })
            .into(),
        ..Default::default()
    }
}

/// The graph as a model that is built into the program.
pub(crate) fn load(graph: GraphProto, options: RtenOptions) -> Result<RtenModel, BackendError> {
    RtenModel::from_static(model(graph).encode_to_vec().leak(), options)
}

pub(crate) fn load_mean(graph: GraphProto) -> Result<RtenModel, BackendError> {
    load(graph, RtenOptions::new(Pooling::Mean))
}

/// The error's message and those of its causes.
pub(crate) fn chain(error: &BackendError) -> String {
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    chain
}

//! A graph under construction: every value has a type and a static shape.

use bytes::Bytes;

use akidb_onnx::proto::attribute_proto::AttributeType;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// Of these `ReduceMean` still has its axes as an attribute, and ONNX Runtime 1.12 reads both.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// A value of the graph.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) dtype: DataType,
    pub(super) dims: Vec<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    proto: GraphProto,
    /// What the next nodes are part of, such as `layers.3.q_proj`.
    pub(super) scope: String,
}

impl Graph {
    pub(super) fn input(&mut self, name: &str, dtype: DataType, dims: &[usize]) -> Value {
        let value = value(name.to_owned(), dtype, dims);
        self.proto.input.push(value_info(&value));
        value
    }

    /// An initializer, whose bytes are here or in another file.
    pub(super) fn initializer(&mut self, tensor: TensorProto) -> Value {
        let dims = tensor.dims.iter();
        let value = Value {
            name: tensor.name().to_owned(),
            dtype: tensor.data_type(),
            dims: dims.map(|&d| usize::try_from(d).unwrap_or(0)).collect(),
        };
        self.proto.initializer.push(tensor);
        value
    }

    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Value {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(raw(name, DataType::Float, dims, bytes))
    }

    fn longs(&mut self, name: &str, values: &[usize]) -> Value {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|&v| (v as i64).to_le_bytes())
            .collect();
        self.initializer(raw(name, DataType::Int64, &[values.len()], bytes))
    }

    /// A node with one output of the first input's type.
    pub(super) fn op(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
        dims: &[usize],
    ) -> Value {
        let dtype = inputs.first().map_or(DataType::Undefined, |v| v.dtype);
        self.node(op_type, inputs, attributes, dtype, &[dims])
            .remove(0)
    }

    fn node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
        dtype: DataType,
        outputs: &[&[usize]],
    ) -> Vec<Value> {
        let name = format!("{}/{op_type}_{}", self.scope, self.proto.node.len());
        let outputs: Vec<Value> = (0..)
            .zip(outputs)
            .map(|(i, dims): (usize, _)| {
                let name = match i {
                    0 => name.clone(),
                    i => format!("{name}_{i}"),
                };
                value(name, dtype, dims)
            })
            .collect();
        self.proto.value_info.extend(outputs.iter().map(value_info));
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|v| v.name.clone()).collect(),
            output: outputs.iter().map(|v| v.name.clone()).collect(),
            name: Some(name),
            op_type: Some(op_type.to_owned()),
            attribute: attributes,
            ..Default::default()
        });
        outputs
    }

    /// Element by element; `b` has the shape of `a` or is repeated to it.
    pub(super) fn each(&mut self, op_type: &str, a: &Value, b: &Value) -> Value {
        self.op(op_type, &[a, b], vec![], &a.dims)
    }

    pub(super) fn unary(&mut self, op_type: &str, a: &Value) -> Value {
        self.op(op_type, &[a], vec![], &a.dims)
    }

    /// `a` itself where it is of that type already.
    pub(super) fn cast(&mut self, a: &Value, dtype: DataType) -> Value {
        if a.dtype == dtype {
            return a.clone();
        }
        let to = int("to", dtype as i64);
        self.node("Cast", &[a], vec![to], dtype, &[&a.dims])
            .remove(0)
    }

    /// `[…, m, k]` by `[…, k, n]`; axes before the last two are `a`'s.
    pub(super) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        let mut dims = a.dims.clone();
        if let (Some(last), Some(&n)) = (dims.last_mut(), b.dims.last()) {
            *last = n;
        }
        self.op("MatMul", &[a, b], vec![], &dims)
    }

    pub(super) fn reshape(&mut self, a: &Value, dims: &[usize]) -> Value {
        let shape = format!("{}/shape_{}", self.scope, self.proto.node.len());
        let shape = self.longs(&shape, dims);
        self.op("Reshape", &[a, &shape], vec![], dims)
    }

    pub(super) fn transpose(&mut self, a: &Value, perm: [usize; 4]) -> Value {
        let dims: Vec<usize> = perm
            .iter()
            .filter_map(|&axis| a.dims.get(axis).copied())
            .collect();
        let perm = ints("perm", &perm.map(|axis| axis as i64));
        self.op("Transpose", &[a], vec![perm], &dims)
    }

    /// The two halves of the last axis.
    pub(super) fn halves(&mut self, a: &Value) -> [Value; 2] {
        let mut dims = a.dims.clone();
        let half = dims.last().map_or(0, |&last| last / 2);
        if let Some(last) = dims.last_mut() {
            *last = half;
        }
        let split = format!("{}/split_{}", self.scope, self.proto.node.len());
        let split = self.longs(&split, &[half, half]);
        let axis = int("axis", -1);
        let mut halves = self.node("Split", &[a, &split], vec![axis], a.dtype, &[&dims, &dims]);
        let second = halves.remove(1);
        [halves.remove(0), second]
    }

    /// Reshapes `a` into the graph's one output.
    pub(super) fn output(&mut self, name: &str, a: &Value, dims: &[usize]) {
        let shape = self.longs(&format!("{name}/shape"), dims);
        let output = value(name.to_owned(), a.dtype, dims);
        self.proto.node.push(NodeProto {
            input: vec![a.name.clone(), shape.name],
            output: vec![name.to_owned()],
            name: Some(format!("{name}/Reshape")),
            op_type: Some("Reshape".to_owned()),
            ..Default::default()
        });
        self.proto.output.push(value_info(&output));
    }

    pub(super) fn finish(mut self, name: &str) -> ModelProto {
        self.proto.name = Some(name.to_owned());
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            graph: Some(self.proto),
            ..Default::default()
        }
    }
}

fn value(name: String, dtype: DataType, dims: &[usize]) -> Value {
    Value {
        name,
        dtype,
        dims: dims.to_vec(),
    }
}

/// A tensor whose bytes are in the graph's own file.
fn raw(name: &str, dtype: DataType, dims: &[usize], bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(dtype as i32),
        dims: dims.iter().map(|&d| d as i64).collect(),
        raw_data: Some(Bytes::from(bytes)),
        ..Default::default()
    }
}

fn value_info(value: &Value) -> ValueInfoProto {
    let dims = value.dims.iter().map(|&len| Dimension {
        value: Some(dimension::Value::DimValue(len as i64)),
        denotation: None,
    });
    ValueInfoProto {
        name: Some(value.name.clone()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(value.dtype as i32),
                shape: Some(TensorShapeProto {
                    dim: dims.collect(),
                }),
            })),
            denotation: None,
        }),
        ..Default::default()
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(i),
        r#type: Some(AttributeType::Int as i32),
        ..Default::default()
    }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: ints.to_vec(),
        r#type: Some(AttributeType::Ints as i32),
        ..Default::default()
    }
}

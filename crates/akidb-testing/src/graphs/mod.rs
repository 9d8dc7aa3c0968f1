//! Small decoders, made as ONNX Runtime GenAI's model builder makes large ones.

pub mod quantize;
pub mod standard;

use std::collections::BTreeSet;

use akidb_onnx::proto::attribute_proto::AttributeType;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TypeProto, ValueInfoProto, type_proto,
};
use akidb_transformer::DecoderConfig;
use bytes::Bytes;
use prost::Message;

/// ONNX Runtime's own domain.
pub const MS: &str = "com.microsoft";

/// Two layers of other sizes in every place.
pub fn small() -> DecoderConfig {
    DecoderConfig {
        hidden_size: 6,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        intermediate_size: 10,
        vocab_size: 11,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        max_position_embeddings: 12,
    }
}

/// The bytes of a file.
pub fn encode(model: &ModelProto) -> Bytes {
    model.encode_to_vec().into()
}

struct Builder {
    model: ModelProto,
    constants: BTreeSet<String>,
}

/// A whole decoder; its parts are found by the names that the functions below give them.
pub fn decoder(config: &DecoderConfig) -> ModelProto {
    Builder::new(config).model
}

/// The graph of a model.
pub fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// The node of this name.
pub fn node<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    let mut nodes = graph(model).node.iter_mut();
    nodes
        .find(|n| n.name() == name)
        .unwrap_or_else(|| panic!("no node {name}"))
}

/// The initializer of this name.
pub fn initializer<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut TensorProto {
    let mut initializers = graph(model).initializer.iter_mut();
    initializers
        .find(|t| t.name() == name)
        .unwrap_or_else(|| panic!("no initializer {name}"))
}

/// Sets an attribute, whatever it was.
pub fn set(node: &mut NodeProto, attribute: AttributeProto) {
    node.attribute.retain(|a| a.name != attribute.name);
    node.attribute.push(attribute);
}

/// An attribute.
pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(i),
        ..Default::default()
    }
}

/// An attribute.
pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(f),
        ..Default::default()
    }
}

/// An attribute.
pub fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::String as i32),
        s: Some(Bytes::copy_from_slice(s.as_bytes())),
        ..Default::default()
    }
}

/// An attribute.
pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Ints as i32),
        ints: ints.to_vec(),
        ..Default::default()
    }
}

/// An attribute.
pub fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(Box::new(tensor)),
        ..Default::default()
    }
}

/// A node.
pub fn new_node(
    domain: &str,
    op_type: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        name: Some(name.into()),
        op_type: Some(op_type.into()),
        domain: (!domain.is_empty()).then(|| domain.into()),
        attribute,
        ..Default::default()
    }
}

/// An f32 tensor.
pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Float as i32),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

/// An i64 tensor.
pub fn longs(name: &str, dims: &[usize], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Int64 as i32),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

/// Makes initializer `name` external, with `entries`; gives the values that it had.
pub fn make_external(model: &mut ModelProto, name: &str, entries: &[(&str, &str)]) -> Bytes {
    let tensor = initializer(model, name);
    tensor.data_location = Some(1);
    tensor.external_data = entries
        .iter()
        .map(|(key, value)| StringStringEntryProto {
            key: Some((*key).into()),
            value: Some((*value).into()),
        })
        .collect();
    tensor.raw_data.take().unwrap()
}

fn value_info(name: &str, elem_type: DataType) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(elem_type as i32),
                shape: None,
            })),
            denotation: None,
        }),
        ..Default::default()
    }
}

impl Builder {
    fn new(c: &DecoderConfig) -> Self {
        let mut b = Self {
            model: ModelProto {
                ir_version: Some(10),
                producer_name: Some("test".into()),
                graph: Some(GraphProto::default()),
                opset_import: [("", 22), (MS, 1)]
                    .map(|(domain, version)| OperatorSetIdProto {
                        domain: Some(domain.into()),
                        version: Some(version),
                    })
                    .to_vec(),
                ..Default::default()
            },
            constants: BTreeSet::new(),
        };
        b.io(c);
        b.mask(c);
        b.rotary_tables(c);
        b.weight("embed_tokens", &[c.vocab_size, c.hidden_size]);
        b.op(
            "",
            "Gather",
            "embed",
            &["embed_tokens", "input_ids"],
            vec![],
        );
        let mut stream = "embed".to_owned();
        let mut branch = None;
        for i in 0..c.num_hidden_layers {
            let normed = b.norm(
                c,
                &format!("{i}.input_layernorm"),
                &mut stream,
                branch.take(),
            );
            branch = Some(b.attention(c, i, &normed));
            let name = format!("{i}.post_attention_layernorm");
            let normed = b.norm(c, &name, &mut stream, branch.take());
            branch = Some(b.mlp(c, i, &normed));
        }
        let last = b.norm(c, "norm", &mut stream, branch);
        graph(&mut b.model).output[0].name = Some(last);
        b
    }

    fn io(&mut self, c: &DecoderConfig) {
        let graph = graph(&mut self.model);
        for name in ["input_ids", "attention_mask", "position_ids"] {
            graph.input.push(value_info(name, DataType::Int64));
        }
        graph.output.push(value_info("", DataType::Float));
        for i in 0..c.num_hidden_layers {
            for kind in ["key", "value"] {
                let name = format!("past.{i}.{kind}");
                graph.input.push(value_info(&name, DataType::Float));
                let name = format!("present.{i}.{kind}");
                graph.output.push(value_info(&name, DataType::Float));
            }
        }
    }

    fn op(
        &mut self,
        domain: &str,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        let node = new_node(domain, op_type, name, inputs, &[name], attribute);
        graph(&mut self.model).node.push(node);
    }

    /// A `Constant` node.
    fn ints(&mut self, values: &[i64]) -> String {
        let name = format!("{values:?}");
        if self.constants.insert(name.clone()) {
            let value = longs("", &[values.len()], values);
            self.op(
                "",
                "Constant",
                &name,
                &[],
                vec![tensor_attribute("value", value)],
            );
        }
        name
    }

    fn float(&mut self, value: f32) -> String {
        let name = format!("{value:?}");
        if self.constants.insert(name.clone()) {
            let value = floats("", &[], &[value]);
            self.op(
                "",
                "Constant",
                &name,
                &[],
                vec![tensor_attribute("value", value)],
            );
        }
        name
    }

    fn weight(&mut self, name: &str, dims: &[usize]) {
        let seed = name
            .bytes()
            .fold(1.0, |s: f32, b| (s * 1.7 + f32::from(b)) % 97.0);
        let values: Vec<f32> = (0..dims.iter().product())
            .map(|i: usize| (seed + i as f32) * 0.731 % 2.0 - 1.0)
            .collect();
        graph(&mut self.model)
            .initializer
            .push(floats(name, dims, &values));
    }

    fn rotary_tables(&mut self, c: &DecoderConfig) {
        let (rows, columns) = (c.max_position_embeddings, c.head_dim / 2);
        for (name, f) in [("cos", f64::cos as fn(f64) -> f64), ("sin", f64::sin)] {
            let values: Vec<f32> = (0..rows * columns)
                .map(|i| {
                    let exponent = -((i % columns) as f64) / columns as f64;
                    f((i / columns) as f64 * c.rope_theta.powf(exponent)) as f32
                })
                .collect();
            let table = floats(name, &[rows, columns], &values);
            graph(&mut self.model).initializer.push(table);
        }
    }

    fn mask(&mut self, c: &DecoderConfig) {
        let (zero, one, first) = (self.ints(&[0]), self.ints(&[1]), self.ints(&[1, -1]));
        let heads = self.ints(&[1, c.num_attention_heads as i64, 1, 1]);
        let (nothing, all, closed) = (self.float(0.0), self.float(1.0), self.float(-3e38));
        let fill = vec![tensor_attribute("value", floats("", &[1], &[-3e38]))];
        self.op("", "Shape", "shape", &["input_ids"], vec![]);
        self.op("", "Gather", "seq", &["shape", &one], vec![int("axis", 0)]);
        self.op(
            "",
            "Concat",
            "square",
            &["seq", "seq"],
            vec![int("axis", 0)],
        );
        self.op("", "ConstantOfShape", "closed", &["square"], fill);
        self.op("", "Range", "row", &[&zero, "seq", &one], vec![]);
        self.op("", "Add", "next", &["row", &one], vec![]);
        self.op("", "Reshape", "column", &["next", &first], vec![]);
        self.op("", "Less", "less", &["row", "column"], vec![]);
        self.op("", "Where", "causal", &["less", &nothing, "closed"], vec![]);
        self.op(
            "",
            "Unsqueeze",
            "wide_mask",
            &["attention_mask", &one],
            vec![],
        );
        self.op("", "Cast", "float_mask", &["wide_mask"], vec![int("to", 1)]);
        self.op("", "Sub", "padding", &[&all, "float_mask"], vec![]);
        self.op("", "Cast", "is_padding", &["padding"], vec![int("to", 9)]);
        self.op(
            "",
            "Where",
            "no_padding",
            &["is_padding", &closed, "padding"],
            vec![],
        );
        self.op("", "Add", "mask_of_one", &["no_padding", "causal"], vec![]);
        self.op("", "Tile", "mask", &["mask_of_one", &heads], vec![]);
    }

    /// A norm of the stream, with what is to be added to it first; gives the normed value.
    fn norm(
        &mut self,
        c: &DecoderConfig,
        name: &str,
        stream: &mut String,
        branch: Option<String>,
    ) -> String {
        let weight = format!("{name}.weight");
        self.weight(&weight, &[c.hidden_size]);
        let epsilon = float("epsilon", c.rms_norm_eps);
        match branch {
            None => {
                let inputs = [&**stream, &*weight];
                self.op(
                    "",
                    "SimplifiedLayerNormalization",
                    name,
                    &inputs,
                    vec![epsilon],
                );
            }
            Some(branch) => {
                let inputs = [&**stream, &*branch, &*weight];
                let sum = format!("{name}.sum");
                graph(&mut self.model).node.push(new_node(
                    MS,
                    "SkipSimplifiedLayerNormalization",
                    name,
                    &inputs,
                    &[name, "", "", &sum],
                    vec![epsilon],
                ));
                *stream = sum;
            }
        }
        name.to_owned()
    }

    fn linear(&mut self, name: &str, input: &str, k: usize, n: usize) {
        let weight = format!("{name}.weight");
        self.weight(&weight, &[k, n]);
        self.op("", "MatMul", name, &[input, &weight], vec![]);
    }

    fn attention(&mut self, c: &DecoderConfig, i: usize, input: &str) -> String {
        let (heads, kv) = (c.num_attention_heads, c.num_key_value_heads);
        for (p, heads) in [("q", heads), ("k", kv)] {
            let width = heads * c.head_dim;
            let proj = format!("{i}.{p}_proj");
            self.linear(&proj, input, c.hidden_size, width);
            let (split, norm) = (format!("{i}.{p}.split"), format!("{i}.{p}_norm"));
            let (joined, rotary) = (format!("{i}.{p}.joined"), format!("{i}.{p}.rotary"));
            let weight = format!("{norm}.weight");
            let of_heads = self.ints(&[0, -1, c.head_dim as i64]);
            let of_tokens = self.ints(&[0, -1, width as i64]);
            self.op("", "Reshape", &split, &[&proj, &of_heads], vec![]);
            self.weight(&weight, &[c.head_dim]);
            let epsilon = vec![float("epsilon", c.rms_norm_eps)];
            self.op(
                "",
                "SimplifiedLayerNormalization",
                &norm,
                &[&split, &weight],
                epsilon,
            );
            self.op("", "Reshape", &joined, &[&norm, &of_tokens], vec![]);
            let inputs = [&*joined, "position_ids", "cos", "sin"];
            self.op(
                MS,
                "RotaryEmbedding",
                &rotary,
                &inputs,
                vec![int("interleaved", 0)],
            );
        }
        let value = format!("{i}.v_proj");
        self.linear(&value, input, c.hidden_size, kv * c.head_dim);
        let key = self.repeat(c, i, "key", &format!("{i}.k.rotary"));
        let value = self.repeat(c, i, "value", &value);
        let attention = format!("{i}.attention");
        let attributes = vec![
            int("num_heads", heads as i64),
            float("scale", 1.0 / (c.head_dim as f32).sqrt()),
        ];
        let inputs = [&*format!("{i}.q.rotary"), &*key, &*value, "", "", "mask"];
        self.op(MS, "MultiHeadAttention", &attention, &inputs, attributes);
        let out = format!("{i}.o_proj");
        self.linear(&out, &attention, heads * c.head_dim, c.hidden_size);
        out
    }

    fn repeat(&mut self, c: &DecoderConfig, i: usize, kind: &str, value: &str) -> String {
        let (heads, kv, dim) = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        let name = |part: &str| format!("{i}.{kind}.{part}");
        let swap = || vec![ints("perm", &[0, 2, 1, 3])];
        let split = self.ints(&[0, 0, kv as i64, -1]);
        let axis = self.ints(&[2]);
        let groups = self.ints(&[1, 1, (heads / kv) as i64, 1, 1]);
        let merged = self.ints(&[0, heads as i64, -1, dim as i64]);
        let joined = self.ints(&[0, 0, (heads * dim) as i64]);
        let present = format!("present.{i}.{kind}");
        self.op("", "Reshape", &name("split"), &[value, &split], vec![]);
        self.op(
            "",
            "Transpose",
            &name("to_heads"),
            &[&name("split")],
            swap(),
        );
        let parts = [&*format!("past.{i}.{kind}"), &*name("to_heads")];
        self.op("", "Concat", &present, &parts, vec![int("axis", 2)]);
        self.op(
            "",
            "Unsqueeze",
            &name("unsqueeze"),
            &[&present, &axis],
            vec![],
        );
        self.op(
            "",
            "Expand",
            &name("expand"),
            &[&name("unsqueeze"), &groups],
            vec![],
        );
        self.op(
            "",
            "Reshape",
            &name("merge"),
            &[&name("expand"), &merged],
            vec![],
        );
        self.op("", "Transpose", &name("to_seq"), &[&name("merge")], swap());
        self.op(
            "",
            "Reshape",
            &name("join"),
            &[&name("to_seq"), &joined],
            vec![],
        );
        name("join")
    }

    fn mlp(&mut self, c: &DecoderConfig, i: usize, input: &str) -> String {
        let name = |part: &str| format!("{i}.{part}");
        let (gate, up, down) = (name("gate_proj"), name("up_proj"), name("down_proj"));
        self.linear(&gate, input, c.hidden_size, c.intermediate_size);
        self.linear(&up, input, c.hidden_size, c.intermediate_size);
        self.op("", "Sigmoid", &name("sigmoid"), &[&gate], vec![]);
        self.op("", "Mul", &name("silu"), &[&gate, &name("sigmoid")], vec![]);
        self.op("", "Mul", &name("product"), &[&name("silu"), &up], vec![]);
        self.linear(&down, &name("product"), c.intermediate_size, c.hidden_size);
        down
    }
}

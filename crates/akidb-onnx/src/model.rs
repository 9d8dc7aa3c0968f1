//! An ONNX file, decoded and indexed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use crate::budget;
use crate::constant;
use crate::error::{Error, ErrorKind, shorten};
use crate::external::{ExternalFiles, Refusal};
use crate::mmap::map_file;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::tensor::{DataType, Tensor};

/// An ONNX model whose graph is known to be whole: every value that is read is produced, once,
/// and nothing depends on itself. Weights stay in the mapped file until read.
#[derive(Debug)]
pub struct OnnxModel {
    path: Option<PathBuf>,
    proto: ModelProto,
    graph: GraphProto,
    files: ExternalFiles,
    values: HashMap<String, Value>,
}

/// Where a value comes from and goes to, by index in the graph.
#[derive(Debug, Default)]
struct Value {
    input: bool,
    initializer: Option<usize>,
    producer: Option<usize>,
    consumers: Vec<usize>,
}

impl OnnxModel {
    /// Maps and decodes the file at `path`. Weights are not touched.
    ///
    /// # Errors
    /// When the file can't be read, isn't ONNX, would take more than
    /// [`MAX_DECODED_BYTES`](crate::budget::MAX_DECODED_BYTES) of memory, or its graph is broken.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let files = ExternalFiles::beside(path).map_err(|e| e.at(path))?;
        let mut model = Self::decode(map_file(path)?, files).map_err(|e| e.at(path))?;
        model.path = Some(path.to_owned());
        Ok(model)
    }

    /// Decodes a model without external data.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Error> {
        Self::decode(bytes, ExternalFiles::none())
    }

    fn decode(bytes: Bytes, files: ExternalFiles) -> Result<Self, Error> {
        budget::check(&bytes)?;
        let mut proto = ModelProto::decode(bytes).map_err(ErrorKind::Decode)?;
        let graph = proto
            .graph
            .take()
            .ok_or_else(|| Error::graph("is missing"))?;
        check_domains(&proto, &graph)?;
        let values = index(&graph)?;
        check_order(&graph, &values)?;
        Ok(Self {
            path: None,
            proto,
            graph,
            files,
            values,
        })
    }

    /// The file, unless the model came as bytes.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The model's message, without its graph.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The graph's message.
    pub fn graph(&self) -> &GraphProto {
        &self.graph
    }

    /// What the graph takes. Initializers, which old files list here too, are left out.
    pub fn inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let is_constant = |v: &&ValueInfoProto| self.initializer_proto(v.name()).is_none();
        self.graph.input.iter().filter(is_constant)
    }

    /// What the graph gives.
    pub fn outputs(&self) -> &[ValueInfoProto] {
        &self.graph.output
    }

    /// All nodes, in the file's order.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.graph.node
    }

    /// True when `value` is given from outside.
    pub fn is_input(&self, value: &str) -> bool {
        self.values
            .get(value)
            .is_some_and(|v| v.input && v.initializer.is_none())
    }

    /// The node that produces `value`; none for inputs and initializers.
    pub fn producer(&self, value: &str) -> Option<&NodeProto> {
        self.graph.node.get(self.values.get(value)?.producer?)
    }

    /// The nodes that read `value`, each once for every time that it does.
    pub fn consumers(&self, value: &str) -> impl Iterator<Item = &NodeProto> {
        let consumers = self.values.get(value).map_or(&[][..], |v| &v.consumers);
        consumers.iter().filter_map(|&i| self.graph.node.get(i))
    }

    /// Type and shape of initializer `name` as the file has them, without its values.
    pub fn initializer_proto(&self, name: &str) -> Option<&TensorProto> {
        self.graph
            .initializer
            .get(self.values.get(name)?.initializer?)
    }

    /// The initializer `name`; its bytes are shared with the file.
    ///
    /// # Errors
    /// When its shape, type or values contradict each other or its external file is missing,
    /// too short, or outside the model's directory.
    pub fn initializer(&self, name: &str) -> Result<Option<Tensor>, Error> {
        self.initializer_proto(name)
            .map(|proto| self.tensor(proto))
            .transpose()
    }

    /// The constant `value`: an initializer, or what a `Constant` node produces.
    ///
    /// # Errors
    /// As [`Self::initializer`].
    pub fn constant(&self, value: &str) -> Result<Option<Tensor>, Error> {
        let Some(node) = self.producer(value) else {
            return self.initializer(value);
        };
        match &*node.attribute {
            [attribute] if is_op(node, "", "Constant") => self.attribute_tensor(value, attribute),
            _ => Ok(None),
        }
    }

    fn attribute_tensor(&self, value: &str, a: &AttributeProto) -> Result<Option<Tensor>, Error> {
        let ints = |dims, ints: &[i64]| {
            let data: Vec<u8> = ints.iter().flat_map(|i| i.to_le_bytes()).collect();
            Tensor::new(value, DataType::I64, dims, data.into())
        };
        Ok(Some(match (a.name(), &a.t) {
            ("value", Some(tensor)) => self.tensor(tensor)?,
            ("value_int", _) => ints(vec![], &[a.i()])?,
            ("value_ints", _) => ints(vec![a.ints.len()], &a.ints)?,
            ("value_float", _) => {
                let data = a.f().to_le_bytes().to_vec();
                Tensor::new(value, DataType::F32, vec![], data.into())?
            }
            _ => return Ok(None),
        }))
    }

    /// The tensor of `proto`, which is part of this model.
    ///
    /// # Errors
    /// As [`Self::initializer`].
    pub fn tensor(&self, proto: &TensorProto) -> Result<Tensor, Error> {
        constant::tensor(proto, &self.files).map_err(|e| self.locate(e))
    }

    /// The path of an external file, which must be in the model's directory.
    ///
    /// # Errors
    /// When it is elsewhere or missing, or the model came as bytes.
    pub fn external_file(&self, file: &str) -> Result<PathBuf, Refusal> {
        self.files.resolve(file)
    }

    /// `error`, about this file.
    #[must_use]
    pub fn locate(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.at(path),
            None => error,
        }
    }
}

/// Refuses a node of a domain whose version the model doesn't say.
fn check_domains(model: &ModelProto, graph: &GraphProto) -> Result<(), Error> {
    let normal = |domain| if domain == "ai.onnx" { "" } else { domain };
    let imported: HashSet<&str> = model
        .opset_import
        .iter()
        .map(|o| normal(o.domain()))
        .collect();
    match graph
        .node
        .iter()
        .find(|n| !imported.contains(normal(n.domain())))
    {
        None if imported.is_empty() => Err(Error::graph("has no opset_import")),
        None => Ok(()),
        Some(node) => Err(Error::graph(format!(
            "node {:?} is of domain {:?}, which opset_import lacks",
            shorten(node_name(node)),
            shorten(node.domain())
        ))),
    }
}

/// True when `node` is operator `op_type` of `domain`; ONNX's own domain is `""`.
pub fn is_op(node: &NodeProto, domain: &str, op_type: &str) -> bool {
    let node_domain = match node.domain() {
        "ai.onnx" => "",
        other => other,
    };
    node_domain == domain && node.op_type() == op_type
}

/// The node's name, or its first output's.
pub fn node_name(node: &NodeProto) -> &str {
    match (node.name(), node.output.first()) {
        ("", Some(output)) => output,
        (name, _) => name,
    }
}

fn index(graph: &GraphProto) -> Result<HashMap<String, Value>, Error> {
    let twice = |what: &str, name: &str| {
        Err(Error::graph(format!(
            "{what} {:?} is there twice",
            shorten(name)
        )))
    };
    let mut values: HashMap<String, Value> = HashMap::new();
    for input in &graph.input {
        let value = values.entry(input.name().to_owned()).or_default();
        if value.input {
            return twice("input", input.name());
        }
        value.input = true;
    }
    for (i, tensor) in graph.initializer.iter().enumerate() {
        let value = values.entry(tensor.name().to_owned()).or_default();
        if value.initializer.replace(i).is_some() {
            return twice("initializer", tensor.name());
        }
    }
    for (i, node) in graph.node.iter().enumerate() {
        // An empty name is an output that nobody wants.
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let value = values.entry(name.clone()).or_default();
            if value.producer.is_some() || value.input || value.initializer.is_some() {
                return twice("value", name);
            }
            value.producer = Some(i);
        }
    }
    for sparse in graph
        .sparse_initializer
        .iter()
        .filter_map(|s| s.values.as_ref())
    {
        let value = values.entry(sparse.name().to_owned()).or_default();
        if value.producer.is_some() || value.initializer.is_some() {
            return twice("initializer", sparse.name());
        }
    }
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            match values.get_mut(name) {
                Some(value) => value.consumers.push(i),
                None => {
                    return Err(Error::graph(format!(
                        "node {:?} reads {:?}, which nothing produces",
                        shorten(node_name(node)),
                        shorten(name)
                    )));
                }
            }
        }
    }
    for output in &graph.output {
        if !values.contains_key(output.name()) {
            return Err(Error::graph(format!(
                "nothing produces the output {:?}",
                shorten(output.name())
            )));
        }
    }
    Ok(values)
}

/// Refuses a graph in which a node depends on itself (Kahn, 1962).
fn check_order(graph: &GraphProto, values: &HashMap<String, Value>) -> Result<(), Error> {
    let mut missing: Vec<usize> = graph
        .node
        .iter()
        .map(|node| {
            let produced = |name: &&String| values.get(*name).is_some_and(|v| v.producer.is_some());
            node.input.iter().filter(produced).count()
        })
        .collect();
    let mut ready: Vec<usize> = (0..missing.len()).filter(|&i| missing[i] == 0).collect();
    let mut done = 0;
    while let Some(i) = ready.pop() {
        done += 1;
        for value in graph.node[i]
            .output
            .iter()
            .filter_map(|name| values.get(name))
        {
            for &consumer in &value.consumers {
                missing[consumer] -= 1;
                if missing[consumer] == 0 {
                    ready.push(consumer);
                }
            }
        }
    }
    if done == graph.node.len() {
        return Ok(());
    }
    let stuck = missing.iter().position(|&n| n > 0).unwrap_or(0);
    Err(Error::graph(format!(
        "node {:?} depends on itself",
        shorten(node_name(&graph.node[stuck]))
    )))
}

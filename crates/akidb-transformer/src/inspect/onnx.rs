//! What is in an ONNX file.

use std::collections::BTreeMap;
use std::fs;

use super::{Architecture, Dim, EncoderSummary, ExternalFile, OnnxFile, TensorFile, Value, most};
use crate::families::ModelConfig;
use crate::graph::{Recognised, encoder_from_onnx};
use akidb_onnx::Location;
use akidb_onnx::is_external;
use akidb_onnx::model::{OnnxModel, is_op};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::dimension;
use akidb_onnx::proto::{NodeProto, TensorProto, ValueInfoProto, type_proto};
use akidb_onnx::{Disagreement, shorten};

/// What is in `model`, and where `config` says otherwise. No file but the external ones that the
/// graph names is looked at.
pub fn inspect_onnx(model: &OnnxModel, config: Option<&ModelConfig>) -> OnnxFile {
    let (architecture, disagreements) = recognise(model, config);
    let linear_bytes = linear_bytes(model);
    let mut constant_bytes = BTreeMap::new();
    for tensor in &model.graph().initializer {
        add(
            &mut constant_bytes,
            type_name(tensor.data_type.unwrap_or(0)),
            byte_len(tensor),
        );
    }
    let mut operators: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for node in model.nodes() {
        let domain = operators.entry(domain(node.domain())).or_default();
        *domain.entry(shorten(node.op_type())).or_default() += 1;
    }
    let proto = model.proto();
    let producer = format!("{} {}", proto.producer_name(), proto.producer_version());
    let opsets = proto.opset_import.iter();
    OnnxFile {
        ir_version: proto.ir_version(),
        producer: shorten(producer.trim()),
        opsets: opsets.map(|o| (domain(o.domain()), o.version())).collect(),
        inputs: model.inputs().map(value).collect(),
        outputs: model.outputs().iter().map(value).collect(),
        operators,
        tensors: TensorFile {
            precision: most(&linear_bytes),
            linear_bytes,
            constant_bytes,
            external_files: external_files(model),
            architecture,
            disagreements,
        },
    }
}

fn recognise(model: &OnnxModel, config: Option<&ModelConfig>) -> (Architecture, Vec<Disagreement>) {
    let decoder_config = match config {
        Some(config @ (ModelConfig::Encoder(_) | ModelConfig::Rotary(_))) => {
            return encoder(model, config);
        }
        Some(ModelConfig::Decoder(config)) => Some(config),
        None => None,
    };
    let found = Recognised::new(model).and_then(|recognised| {
        let disagreements = match decoder_config {
            Some(config) => recognised.disagreements(config)?,
            None => Vec::new(),
        };
        Ok((
            Architecture::Decoder(recognised.transformer.decoder_config()),
            disagreements,
        ))
    });
    found.unwrap_or_else(|error| match encoder_from_onnx(model) {
        Ok(found) => (
            Architecture::Encoder(EncoderSummary::of(&found)),
            Vec::new(),
        ),
        Err(_) => (Architecture::of_error(&error), Vec::new()),
    })
}

fn encoder(model: &OnnxModel, config: &ModelConfig) -> (Architecture, Vec<Disagreement>) {
    match encoder_from_onnx(model) {
        Ok(found) => {
            let summary = EncoderSummary::of(&found);
            (Architecture::Encoder(summary), config.disagreements(&found))
        }
        Err(error) => (Architecture::of_error(&error), Vec::new()),
    }
}

fn linear_bytes(model: &OnnxModel) -> BTreeMap<String, u64> {
    let mut bytes = BTreeMap::new();
    for node in model.nodes() {
        let Some(tensor) = node
            .input
            .get(1)
            .and_then(|name| constant_behind(model, name))
        else {
            continue;
        };
        let dtype = || type_name(tensor.data_type.unwrap_or(0));
        let block = int(node, "block_size", 0);
        let precision = match node.op_type() {
            "MatMul" | "Gemm" if is_op(node, "", node.op_type()) => dtype(),
            "MatMulInteger" if is_op(node, "", "MatMulInteger") => match &*dtype() {
                "i8" => "int8".into(),
                "u8" => "uint8".into(),
                other => other.into(),
            },
            "MatMulNBits" => format!("q{} block {block}", int(node, "bits", 4)),
            "MatMulBnb4" if int(node, "quant_type", 1) == 0 => format!("fp4 block {block}"),
            "MatMulBnb4" => format!("nf4 block {block}"),
            _ => continue,
        };
        add(&mut bytes, precision, byte_len(tensor));
    }
    bytes
}

/// The initializer `value`, or the one that it is cast, dequantized or transposed from.
fn constant_behind<'m>(model: &'m OnnxModel, value: &'m str) -> Option<&'m TensorProto> {
    const STEPS: [&str; 3] = ["Cast", "DequantizeLinear", "Transpose"];
    let mut value = value;
    for _ in 0..=STEPS.len() {
        if let Some(tensor) = model.initializer_proto(value) {
            return Some(tensor);
        }
        let node = model.producer(value)?;
        if !STEPS.contains(&node.op_type()) {
            return None;
        }
        value = node.input.first()?;
    }
    None
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    let attribute = node.attribute.iter().find(|a| a.name() == name);
    attribute.map_or(default, |a| a.i())
}

fn external_files(model: &OnnxModel) -> Vec<ExternalFile> {
    let mut needed: BTreeMap<&str, u64> = BTreeMap::new();
    for tensor in model.graph().initializer.iter().filter(|t| is_external(t)) {
        // A broken entry is reported where the tensor is read.
        if let Ok(location) = Location::of(tensor) {
            let end = location.offset.saturating_add(byte_len(tensor));
            let needed = needed.entry(location.file).or_default();
            *needed = end.max(*needed);
        }
    }
    let file = |(path, needed): (&str, u64)| {
        let found = model.external_file(path);
        let (bytes, error) = match found {
            Ok(found) => (fs::metadata(found).ok().map(|m| m.len()), None),
            Err(refusal) => (None, Some(refusal.why)),
        };
        let short = bytes
            .filter(|&bytes| bytes < needed)
            .map(|_| "is too short".to_owned());
        ExternalFile {
            path: shorten(path),
            bytes,
            needed,
            error: error.or(short),
        }
    };
    needed.into_iter().map(file).collect()
}

fn value(info: &ValueInfoProto) -> Value {
    let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let dim = |dim: &akidb_onnx::proto::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(len)) => Dim::Fixed(*len),
        Some(dimension::Value::DimParam(name)) => Dim::Named(shorten(name)),
        None => Dim::Named("?".into()),
    };
    let shape = tensor.and_then(|t| t.shape.as_ref());
    Value {
        name: shorten(info.name()),
        dtype: tensor.map_or("?".into(), |t| type_name(t.elem_type())),
        shape: shape.map(|s| s.dim.iter().map(dim).collect()),
    }
}

fn domain(domain: &str) -> String {
    match domain {
        "" => "ai.onnx".into(),
        other => shorten(other),
    }
}

fn add(bytes: &mut BTreeMap<String, u64>, dtype: String, len: u64) {
    let total = bytes.entry(dtype).or_default();
    *total = total.saturating_add(len);
}

/// Bytes of a shape; the largest number when it is impossible.
fn byte_len(tensor: &TensorProto) -> u64 {
    let bits = bits(tensor.data_type.unwrap_or(0));
    let elements = tensor
        .dims
        .iter()
        .try_fold(bits, |len, &dim| len.checked_mul(u64::try_from(dim).ok()?));
    elements.unwrap_or(u64::MAX).div_ceil(8)
}

fn bits(data_type: i32) -> u64 {
    match DataType::try_from(data_type).unwrap_or(DataType::Undefined) {
        DataType::Undefined | DataType::String => 0,
        DataType::Uint2 | DataType::Int2 => 2,
        DataType::Uint4 | DataType::Int4 | DataType::Float4e2m1 => 4,
        DataType::Float6e2m3 | DataType::Float6e3m2 => 6,
        DataType::Bool
        | DataType::Uint8
        | DataType::Int8
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0 => 8,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 16,
        DataType::Float | DataType::Uint32 | DataType::Int32 => 32,
        DataType::Double | DataType::Uint64 | DataType::Int64 | DataType::Complex64 => 64,
        DataType::Complex128 => 128,
    }
}

/// `f32`, `i64`, …; `?` for none and for unknown ones.
fn type_name(data_type: i32) -> String {
    let name = match DataType::try_from(data_type).unwrap_or(DataType::Undefined) {
        DataType::Undefined => "?",
        DataType::Float => "f32",
        DataType::Float16 => "f16",
        DataType::Bfloat16 => "bf16",
        DataType::Double => "f64",
        DataType::Int8 => "i8",
        DataType::Uint8 => "u8",
        DataType::Int16 => "i16",
        DataType::Uint16 => "u16",
        DataType::Int32 => "i32",
        DataType::Uint32 => "u32",
        DataType::Int64 => "i64",
        DataType::Uint64 => "u64",
        other => return format!("{other:?}").to_ascii_lowercase(),
    };
    name.into()
}

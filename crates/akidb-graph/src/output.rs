//! Which of the graph's outputs is the embedding, and what its values mean.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::{OnnxModel, is_op};
use akidb_onnx::proto::ValueInfoProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::tensor::DataType as TensorType;

use crate::declared::shape;
use crate::inputs::data_type;
use crate::options::OutputChoice;
use crate::source::invalid_model;

/// The names that exporters give to the hidden states, in the order of preference.
const HIDDEN_STATES: [&str; 3] = ["last_hidden_state", "hidden_states", "token_embeddings"];

/// The name that they give to what is pooled as the model's authors mean it.
const POOLED: &str = "sentence_embedding";

/// Outputs of rank 2 that are no embeddings: of classifiers, and of BERT's pooler, which is trained for
/// another task and is taken only where there is nothing else.
const SCORES: &str = "logits";
const POOLER: &str = "pooler_output";

/// What exporters call a reranker's output, in the order of preference.
const SCORES_OF_PAIRS: [&str; 4] = [SCORES, "yes_no", "scores", "score"];

/// An output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// How its 8-bit values become numbers, where it has such.
    codes: Option<Codes>,
}

/// What 8-bit codes stand for: `(code - zero_point) * scale`, each of one value or of one for each
/// place of a row.
#[derive(Debug, Clone, PartialEq)]
struct Codes {
    scale: Vec<f32>,
    zero_point: Vec<f32>,
}

impl Output {
    /// The output that is wanted; nothing else need be computed.
    ///
    /// # Errors
    /// When there is none, which lists what there is, or several
    /// ([`BackendErrorKind::SeveralOutputs`]).
    pub fn of(onnx: &OnnxModel, wanted: &OutputChoice) -> Result<Self, BackendError> {
        let chosen = choose(onnx.outputs(), wanted)?;
        Ok(Self {
            codes: match data_type(&chosen.r#type) {
                Some(DataType::Uint8 | DataType::Int8) => Some(codes(onnx, chosen.name())?),
                _ => None,
            },
            name: chosen.name().to_owned(),
        })
    }

    /// The numbers that codes of this output stand for, which lie in rows of `width`.
    ///
    /// # Errors
    /// When the file doesn't say what they stand for.
    pub fn numbers<T: Copy + Into<f32>>(
        &self,
        codes: &[T],
        width: usize,
    ) -> Result<Vec<f32>, BackendError> {
        let wrong = |what: &str| {
            let what = format!("output {:?} {what}", self.name);
            BackendError::new(BackendErrorKind::UnsupportedModel, what)
        };
        let Codes { scale, zero_point } = self
            .codes
            .as_ref()
            .ok_or_else(|| wrong("has 8 bits, which the file doesn't declare"))?;
        let fits = |values: &[f32]| values.len() == 1 || values.len() == width;
        if width == 0 || !fits(scale) || !fits(zero_point) {
            return Err(wrong("has as many scales as fit neither a row nor a value"));
        }
        let at = |values: &[f32], i: usize| values[if values.len() == 1 { 0 } else { i % width }];
        let number = |(i, &code): (usize, &T)| (code.into() - at(zero_point, i)) * at(scale, i);
        Ok(codes.iter().enumerate().map(number).collect())
    }
}

fn choose<'a>(
    outputs: &'a [ValueInfoProto],
    wanted: &OutputChoice,
) -> Result<&'a ValueInfoProto, BackendError> {
    let named = |name: &str| outputs.iter().find(|output| output.name() == name);
    let pooled = named(POOLED).filter(|output| may_have_rank(output, 2));
    let hidden = HIDDEN_STATES
        .into_iter()
        .find_map(|name| named(name).filter(|output| may_have_rank(output, 3)))
        .or_else(|| outputs.iter().find(|output| holds(output, 3)));
    let unsupported = |what: String| {
        Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("{what}; it has {}", names(outputs)),
        ))
    };
    match wanted {
        OutputChoice::Named(name) => named(name).ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "the graph has no output {name:?}; it has {}",
                    names(outputs)
                ),
            )
        }),
        OutputChoice::Scores => match SCORES_OF_PAIRS.into_iter().find_map(named) {
            Some(scores) => Ok(scores),
            None => unsupported(format!(
                "none of the graph's outputs is called {}",
                SCORES_OF_PAIRS.join(" or ")
            )),
        },
        OutputChoice::HiddenStates => match hidden {
            Some(hidden) => Ok(hidden),
            None => unsupported(
                "another pooling than the graph's is wanted, and none of its outputs holds hidden \
                 states"
                    .to_owned(),
            ),
        },
        OutputChoice::Likely => match pooled.or(hidden) {
            Some(output) => Ok(output),
            None => match only_pooled(outputs)? {
                Some(output) => Ok(output),
                None => {
                    unsupported("none of the graph's outputs looks like an embedding".to_owned())
                }
            },
        },
        OutputChoice::Pooled { module } => match pooled {
            Some(output) => Ok(output),
            None => match only_pooled(outputs)?.filter(|output| output.name() != POOLER) {
                Some(output) => Ok(output),
                None => unsupported(format!(
                    "the model's module {module} follows its pooling, and none of the graph's outputs \
                     is pooled and may contain it"
                )),
            },
        },
    }
}

/// The only output that looks pooled.
fn only_pooled(outputs: &[ValueInfoProto]) -> Result<Option<&ValueInfoProto>, BackendError> {
    let mut found: Vec<_> = outputs
        .iter()
        .filter(|output| holds(output, 2) && output.name() != SCORES)
        .collect();
    if found.len() > 1 {
        found.retain(|output| output.name() != POOLER);
    }
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => {
            let names: Vec<_> = several.iter().map(|o| format!("{:?}", o.name())).collect();
            Err(BackendError::new(
                BackendErrorKind::SeveralOutputs,
                format!(
                    "several of the graph's outputs may be the embedding: {}",
                    names.join(", ")
                ),
            ))
        }
    }
}

/// Whether an output has numbers, and this rank for certain.
fn holds(output: &ValueInfoProto, rank: usize) -> bool {
    use DataType::{Float, Float16, Int8, Uint8};
    shape(output).is_some_and(|shape| shape.len() == rank)
        && matches!(
            data_type(&output.r#type),
            Some(Float | Float16 | Uint8 | Int8)
        )
        && !output.name().starts_with("present")
}

fn may_have_rank(output: &ValueInfoProto, rank: usize) -> bool {
    // Known names are trusted where a file declares no shape.
    shape(output).is_none_or(|shape| shape.len() == rank)
}

/// What the codes of an 8-bit output stand for: the scale of the `QuantizeLinear` that makes them.
fn codes(onnx: &OnnxModel, output: &str) -> Result<Codes, BackendError> {
    let unknown = || {
        let what = format!(
            "output {output:?} has 8-bit codes, and no QuantizeLinear with a constant scale makes them"
        );
        BackendError::new(BackendErrorKind::UnsupportedModel, what)
    };
    let mut value = output;
    let mut node = onnx.producer(value).ok_or_else(unknown)?;
    while ["Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"].contains(&node.op_type()) {
        value = node.input.first().ok_or_else(unknown)?;
        node = onnx.producer(value).ok_or_else(unknown)?;
    }
    if !is_op(node, "", "QuantizeLinear") && !is_op(node, "com.microsoft", "QuantizeLinear") {
        return Err(unknown());
    }
    let constant = |index: usize| -> Result<Option<Vec<f32>>, BackendError> {
        let Some(name) = node.input.get(index).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let tensor = onnx
            .constant(name)
            .map_err(invalid_model)?
            .ok_or_else(unknown)?;
        let bytes = tensor.data().iter();
        Ok(Some(match tensor.dtype() {
            TensorType::U8 => bytes.map(|&code| f32::from(code)).collect(),
            TensorType::I8 => bytes.map(|&code| f32::from(code.cast_signed())).collect(),
            _ => tensor.to_f32_vec().map_err(invalid_model)?,
        }))
    };
    Ok(Codes {
        scale: constant(1)?.ok_or_else(unknown)?,
        zero_point: constant(2)?.unwrap_or_else(|| vec![0.0]),
    })
}

fn names(outputs: &[ValueInfoProto]) -> String {
    let names: Vec<_> = outputs.iter().map(|o| format!("{:?}", o.name())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use akidb_onnx::proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, tensor_shape_proto, type_proto,
    };
    use prost::Message;

    use super::*;

    fn value(name: &str, dtype: DataType, rank: usize) -> ValueInfoProto {
        let dim = tensor_shape_proto::Dimension::default();
        let tensor_type = type_proto::Tensor {
            elem_type: Some(dtype as i32),
            shape: Some(TensorShapeProto {
                dim: vec![dim; rank],
            }),
        };
        ValueInfoProto {
            name: Some(name.to_owned()),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(tensor_type)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn graph(outputs: Vec<ValueInfoProto>) -> GraphProto {
        let nodes = outputs.iter().map(|output| NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec!["x".to_owned()],
            output: vec![output.name().to_owned()],
            ..Default::default()
        });
        GraphProto {
            node: nodes.collect(),
            input: vec![value("x", DataType::Float, 2)],
            output: outputs,
            ..Default::default()
        }
    }

    fn model(graph: GraphProto) -> OnnxModel {
        let model = ModelProto {
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto::default()],
            ..Default::default()
        };
        OnnxModel::from_bytes(model.encode_to_vec().into()).unwrap()
    }

    fn chosen(outputs: &[(&str, usize)], wanted: &OutputChoice) -> Result<String, BackendError> {
        let outputs = outputs.iter();
        let outputs = outputs.map(|&(name, rank)| value(name, DataType::Float, rank));
        Output::of(&model(graph(outputs.collect())), wanted).map(|output| output.name)
    }

    #[test]
    fn what_looks_most_like_the_embedding_is_taken() {
        let likely = |outputs: &[(&str, usize)]| chosen(outputs, &OutputChoice::Likely).unwrap();
        let both = [("token_embeddings", 3), ("sentence_embedding", 2)];
        assert_eq!(likely(&both), "sentence_embedding");
        assert_eq!(
            likely(&[("pooler_output", 2), ("last_hidden_state", 3)]),
            "last_hidden_state"
        );
        assert_eq!(
            likely(&[("present.0.key", 3), ("text_embeds", 3)]),
            "text_embeds"
        );
        assert_eq!(likely(&[("embeddings", 2)]), "embeddings");
        assert_eq!(likely(&[("logits", 2), ("embeddings", 2)]), "embeddings");
        assert_eq!(
            likely(&[("pooler_output", 2), ("embeddings", 2)]),
            "embeddings"
        );
        assert_eq!(likely(&[("pooler_output", 2)]), "pooler_output");
        // A name says nothing that the shape contradicts.
        assert_eq!(likely(&[("sentence_embedding", 3)]), "sentence_embedding");
        assert_eq!(likely(&[("last_hidden_state", 2)]), "last_hidden_state");
    }

    #[test]
    fn scores_have_names() {
        let both = [("last_hidden_state", 3), ("logits", 3)];
        assert_eq!(chosen(&both, &OutputChoice::Scores).unwrap(), "logits");
        let error = chosen(&both[..1], &OutputChoice::Scores).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel);
    }

    #[test]
    fn several_are_asked_about() {
        let several = [("text", 2), ("image", 2)];
        let error = chosen(&several, &OutputChoice::Likely).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::SeveralOutputs);
        assert!(error.to_string().contains("\"text\", \"image\""), "{error}");
        let image = OutputChoice::Named("image".to_owned());
        assert_eq!(chosen(&several, &image).unwrap(), "image");
        let error = chosen(&several, &OutputChoice::Named("x".to_owned())).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
        let error = chosen(&[("logits", 2)], &OutputChoice::Likely).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel);
    }

    #[test]
    fn modules_after_the_pooling_are_in_a_pooled_output_or_nowhere() {
        let wanted = OutputChoice::Pooled {
            module: "Dense".to_owned(),
        };
        let both = [("last_hidden_state", 3), ("sentence_embedding", 2)];
        assert_eq!(chosen(&both, &wanted).unwrap(), "sentence_embedding");
        let other = [("last_hidden_state", 3), ("embeddings", 2)];
        assert_eq!(chosen(&other, &wanted).unwrap(), "embeddings");
        let pooler = [("last_hidden_state", 3), ("pooler_output", 2)];
        let error = chosen(&pooler, &wanted).unwrap_err();
        assert!(error.to_string().contains("module Dense"), "{error}");
    }

    #[test]
    fn another_pooling_wants_hidden_states() {
        let both = [("sentence_embedding", 2), ("token_embeddings", 3)];
        let hidden = OutputChoice::HiddenStates;
        assert_eq!(chosen(&both, &hidden).unwrap(), "token_embeddings");
        let error = chosen(&both[..1], &hidden).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel);
    }

    fn constant(name: &str, dtype: DataType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(dtype as i32),
            dims: dims.to_vec(),
            raw_data: Some(raw.into()),
            ..Default::default()
        }
    }

    fn quantized(
        dtype: DataType,
        scale: &[f32],
        zero_point: Vec<u8>,
    ) -> Result<Output, BackendError> {
        let mut graph = graph(vec![value("codes", dtype, 2)]);
        let quantize = &mut graph.node[0];
        quantize.op_type = Some("QuantizeLinear".to_owned());
        quantize.input.extend(["scale", "zero"].map(str::to_owned));
        let dims = [scale.len() as i64];
        let raw = scale.iter().flat_map(|s| s.to_le_bytes()).collect();
        graph.initializer = vec![
            constant("scale", DataType::Float, &dims, raw),
            constant("zero", dtype, &[zero_point.len() as i64], zero_point),
        ];
        Output::of(&model(graph), &OutputChoice::Likely)
    }

    #[test]
    fn codes_become_the_numbers_that_they_stand_for() {
        let output = quantized(DataType::Uint8, &[0.5], vec![128]).unwrap();
        assert_eq!(
            output.numbers(&[0_u8, 128, 255], 3).unwrap(),
            [-64.0, 0.0, 63.5]
        );
        let output = quantized(DataType::Int8, &[0.5, 2.0], vec![255]).unwrap();
        assert_eq!(
            output.numbers(&[0_i8, 0, -1, 4], 2).unwrap(),
            [0.5, 2.0, 0.0, 10.0]
        );
        output.numbers(&[0_i8; 3], 3).unwrap_err();
        // Nothing says what they stand for.
        let error = Output::of(
            &model(graph(vec![value("codes", DataType::Uint8, 2)])),
            &OutputChoice::Likely,
        );
        let error = error.unwrap_err();
        assert!(error.to_string().contains("8-bit codes"), "{error}");
    }
}

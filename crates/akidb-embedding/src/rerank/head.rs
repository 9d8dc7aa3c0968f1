//! From a pair's pooled state to its logit: a few small layers in f32, sums in f64, in one order.

use akidb_kernels::{Isa, gelu_erf, gelu_tanh};
use akidb_onnx::ErrorKind;
use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::tensor::Tensor;
use akidb_transformer::{Linear, NormKind, ScoreLayer};

use crate::backend::{HeadInput, Loaded};
use crate::error::EmbedError;
use crate::model::{
    Activation, Classifier, LogitTokens, ModelFiles, ScoringHead, Weights, WeightsSource,
};
use crate::tokenizer::TextTokenizer;

/// Layers, the last of which has one output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScoreHead {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq)]
enum Layer {
    /// `weight` is `[outputs, inputs]`; `bias` has an entry an output, or none at all.
    Dense {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    Activation(Activation),
    Norm {
        weight: Vec<f32>,
        bias: Vec<f32>,
        epsilon: f32,
    },
    /// The value at `plus`, less that at `minus`.
    Pick {
        plus: usize,
        minus: Option<usize>,
    },
}

impl ScoreHead {
    pub(super) fn load(
        files: &ModelFiles,
        weights: &Weights,
        head: &ScoringHead,
        tokenizer: &TextTokenizer,
        loaded: &Loaded,
    ) -> Result<Self, EmbedError> {
        let unsupported = |what: &str| EmbedError::Unsupported(format!("{}: {what}", files.id()));
        let words = |tokens: &Option<LogitTokens>| -> Result<_, EmbedError> {
            let Some(LogitTokens { yes, no }) = *tokens else {
                let word = |word: &str| {
                    let missing = || unsupported(&format!("its tokenizer has no token {word:?}"));
                    tokenizer.word_id(word).ok_or_else(missing)
                };
                return Ok((word("yes")?, Some(word("no")?)));
            };
            Ok((yes, no))
        };
        let width = loaded.backend.info().hidden_size;
        let layers = match (&loaded.head_input, head, &weights.source) {
            (HeadInput::Logits, ScoringHead::YesNo { tokens, .. }, _) if width > 2 => {
                let (yes, no) = words(tokens)?;
                if yes.max(no.unwrap_or(yes)) as usize >= width {
                    let what = format!("its graph gives {width} logits, and none of \"yes\"");
                    return Err(unsupported(&what));
                }
                vec![Layer::Pick {
                    plus: yes as usize,
                    minus: no.map(|no| no as usize),
                }]
            }
            // The authors' own order.
            (HeadInput::Logits, ScoringHead::YesNo { .. }, _) if width == 2 => {
                vec![difference(1, 0)]
            }
            (HeadInput::Logits, ..) if width == 1 => vec![Layer::Pick {
                plus: 0,
                minus: None,
            }],
            (HeadInput::Logits, ..) => {
                let what = format!("its graph gives {width} logits, a reranker's gives one");
                return Err(unsupported(&what));
            }
            (HeadInput::States(Some(layers)), ScoringHead::YesNo { tokens, .. }, _) => {
                let [ScoreLayer::Linear(logits)] = layers.as_slice() else {
                    return Err(unsupported("its logits are not made by one layer"));
                };
                let (yes, no) = match logits.out_features() {
                    // The authors' own order.
                    2 => (1, Some(0)),
                    _ => words(tokens)?,
                };
                if yes.max(no.unwrap_or(yes)) as usize >= logits.out_features() {
                    return Err(unsupported(
                        "its output layer has no row for its token \"yes\"",
                    ));
                }
                let no = no.map(|no| linear_row(logits, no)).transpose()?;
                vec![one_row(linear_row(logits, yes)?, &no.unwrap_or_default())]
            }
            (HeadInput::States(Some(layers)), ..) => {
                if outputs(layers) != Some(1) {
                    return Err(unsupported("its graph gives several logits"));
                }
                let layers = layers.iter().map(of_graph);
                layers.collect::<Result<_, akidb_onnx::Error>>()?
            }
            (_, _, WeightsSource::Safetensors(path)) => {
                let tensors = SafetensorsModel::open(path)?;
                match head {
                    ScoringHead::YesNo { tied, tokens } => {
                        let (yes, no) = words(tokens)?;
                        let row =
                            |id| output_row(&tensors, *tied, id, width).map_err(|e| e.at(path));
                        let no = no.map(row).transpose()?;
                        vec![one_row(row(yes)?, &no.unwrap_or_default())]
                    }
                    ScoringHead::OneRow => {
                        let row = values(&tensors, "score.weight", &[1, width]);
                        vec![one_row(row.map_err(|e| e.at(path))?, &[])]
                    }
                    ScoringHead::Classifier(classifier) => {
                        classifier_layers(&tensors, classifier, width).map_err(|e| e.at(path))?
                    }
                }
            }
            _ => return Err(unsupported("its file has no layer that scores")),
        };
        Ok(Self { layers })
    }

    /// The logit of a state; NaN where the state has another width than the layers.
    pub(super) fn logit(&self, state: &[f32]) -> f32 {
        let mut values = state.to_vec();
        for layer in &self.layers {
            values = layer.apply(&values);
        }
        match values.as_slice() {
            [logit] => *logit,
            _ => f32::NAN,
        }
    }
}

impl Layer {
    fn apply(&self, values: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense { weight, bias } => {
                let rows = weight.chunks_exact(values.len().max(1));
                let biases = bias.iter().copied().chain(std::iter::repeat(0.0));
                rows.zip(biases)
                    .map(|(row, bias)| (dot(row, values) + f64::from(bias)) as f32)
                    .collect()
            }
            Self::Activation(activation) => activation.of(values.to_vec()),
            Self::Norm {
                weight,
                bias,
                epsilon,
            } => {
                let count = values.len() as f64;
                let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
                let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2));
                let scale = 1.0 / (squares.sum::<f64>() / count + f64::from(*epsilon)).sqrt();
                let biases = bias.iter().copied().chain(std::iter::repeat(0.0));
                let each = values.iter().zip(weight).zip(biases);
                each.map(|((x, weight), bias)| {
                    let normed = (f64::from(*x) - mean) * scale;
                    (normed * f64::from(*weight) + f64::from(bias)) as f32
                })
                .collect()
            }
            Self::Pick { plus, minus } => {
                let at = |index: usize| values.get(index).copied().unwrap_or(f32::NAN);
                vec![at(*plus) - minus.map_or(0.0, at)]
            }
        }
    }
}

impl Activation {
    fn of(self, mut values: Vec<f32>) -> Vec<f32> {
        let each = |values: &mut [f32], of: fn(f32) -> f32| {
            values.iter_mut().for_each(|x| *x = of(*x));
        };
        match self {
            Self::Tanh => each(&mut values, |x| f64::from(x).tanh() as f32),
            Self::Relu => each(&mut values, |x| x.max(0.0)),
            Self::GeluErf => gelu_erf(Isa::detect(), &mut values),
            Self::GeluTanh => gelu_tanh(Isa::detect(), &mut values),
        }
        values
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

fn difference(plus: usize, minus: usize) -> Layer {
    Layer::Pick {
        plus,
        minus: Some(minus),
    }
}

/// One output: `row`, less `other` where there is one.
fn one_row(mut row: Vec<f32>, other: &[f32]) -> Layer {
    row.iter_mut().zip(other).for_each(|(x, other)| *x -= other);
    Layer::Dense {
        weight: row,
        bias: Vec::new(),
    }
}

/// How many scores layers make.
fn outputs(layers: &[ScoreLayer]) -> Option<usize> {
    let linear = |layer: &ScoreLayer| match layer {
        ScoreLayer::Linear(linear) => Some(linear.out_features()),
        _ => None,
    };
    layers.iter().rev().find_map(linear)
}

/// A layer that a graph has.
fn of_graph(layer: &ScoreLayer) -> Result<Layer, akidb_onnx::Error> {
    Ok(match layer {
        ScoreLayer::Linear(linear) => {
            let rows = 0..u32::try_from(linear.out_features()).unwrap_or(u32::MAX);
            let rows: Result<Vec<Vec<f32>>, _> = rows.map(|row| linear_row(linear, row)).collect();
            let bias = linear.bias().map(Tensor::to_f32_vec).transpose()?;
            Layer::Dense {
                weight: rows?.concat(),
                bias: bias.unwrap_or_default(),
            }
        }
        ScoreLayer::Tanh => Layer::Activation(Activation::Tanh),
        ScoreLayer::Relu => Layer::Activation(Activation::Relu),
        ScoreLayer::Activation(activation) => match activation {
            akidb_transformer::Activation::GeluErf => Layer::Activation(Activation::GeluErf),
            akidb_transformer::Activation::GeluTanh => Layer::Activation(Activation::GeluTanh),
            akidb_transformer::Activation::Silu => {
                let why = "a SiLU behind the pooling is not known".to_owned();
                return Err(ErrorKind::UnsupportedModel(why).into());
            }
        },
        ScoreLayer::Norm(norm) => {
            if norm.kind != NormKind::Layer {
                let why = "an RMSNorm behind the pooling is not known".to_owned();
                return Err(ErrorKind::UnsupportedModel(why).into());
            }
            Layer::Norm {
                weight: norm.weight.to_f32_vec()?,
                bias: norm
                    .bias
                    .as_ref()
                    .map(Tensor::to_f32_vec)
                    .transpose()?
                    .unwrap_or_default(),
                epsilon: norm.epsilon,
            }
        }
    })
}

fn linear_row(linear: &Linear, row: u32) -> Result<Vec<f32>, akidb_onnx::Error> {
    let mut values = vec![0.0; linear.in_features()];
    linear.dequantize(row as usize, &mut values)?;
    Ok(values)
}

/// A row of the output layer, which may be the table of embeddings.
fn output_row(
    tensors: &SafetensorsModel,
    tied: bool,
    row: u32,
    width: usize,
) -> Result<Vec<f32>, akidb_onnx::Error> {
    const HEAD: &str = "lm_head.weight";
    let tables = ["model.embed_tokens.weight", "embed_tokens.weight"];
    let table = tables.into_iter().find(|name| tensors.has(name));
    // A writer leaves the head out where it is the table.
    let name = if tensors.has(HEAD) && !tied {
        HEAD
    } else {
        table.unwrap_or(HEAD)
    };
    let tensor = tensors.tensor(name)?;
    if tensor.dims().len() != 2 || tensor.dims()[1] != width || !tensor.dtype().is_float() {
        let why = format!("has shape {:?}, not rows of {width} floats", tensor.dims());
        return Err(akidb_onnx::Error::tensor(name, why));
    }
    let mut values = vec![0.0; width];
    tensor.read_f32((row as usize).saturating_mul(width), &mut values)?;
    Ok(values)
}

fn classifier_layers(
    tensors: &SafetensorsModel,
    classifier: &Classifier,
    width: usize,
) -> Result<Vec<Layer>, akidb_onnx::Error> {
    let dense = |name: &str, outputs: usize| {
        Ok::<_, akidb_onnx::Error>(Layer::Dense {
            weight: values(tensors, &format!("{name}.weight"), &[outputs, width])?,
            bias: if_there(tensors, &format!("{name}.bias"), outputs)?,
        })
    };
    let mut layers = vec![
        dense(classifier.dense, width)?,
        Layer::Activation(classifier.activation),
    ];
    if let Some((name, epsilon)) = classifier.norm {
        layers.push(Layer::Norm {
            weight: values(tensors, &format!("{name}.weight"), &[width])?,
            bias: if_there(tensors, &format!("{name}.bias"), width)?,
            epsilon,
        });
    }
    layers.push(dense(classifier.last, 1)?);
    Ok(layers)
}

fn if_there(
    tensors: &SafetensorsModel,
    name: &str,
    len: usize,
) -> Result<Vec<f32>, akidb_onnx::Error> {
    match tensors.has(name) {
        true => values(tensors, name, &[len]),
        false => Ok(Vec::new()),
    }
}

/// The values of a tensor of this shape.
fn values(
    tensors: &SafetensorsModel,
    name: &str,
    dims: &[usize],
) -> Result<Vec<f32>, akidb_onnx::Error> {
    let tensor = tensors.tensor(name)?;
    if tensor.dims() != dims || !tensor.dtype().is_float() {
        let why = format!(
            "is {} of shape {:?}, floats of {dims:?} are needed",
            tensor.dtype(),
            tensor.dims()
        );
        return Err(akidb_onnx::Error::tensor(name, why));
    }
    tensor.to_f32_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(layers: Vec<Layer>) -> ScoreHead {
        ScoreHead { layers }
    }

    #[test]
    fn layers_follow_each_other() {
        let dense = Layer::Dense {
            weight: vec![1.0, 2.0, -1.0, 0.5],
            bias: vec![0.5, 0.0],
        };
        let relu = Layer::Activation(Activation::Relu);
        let last = one_row(vec![2.0, 5.0], &[1.0, 1.0]);
        // [1, 2] becomes [5.5, 0].
        assert_eq!(head(vec![dense, relu, last]).logit(&[1.0, 2.0]), 5.5);
    }

    #[test]
    fn values_are_picked() {
        assert_eq!(head(vec![difference(2, 0)]).logit(&[1.0, 9.0, 4.0]), 3.0);
        assert!(head(vec![difference(3, 0)]).logit(&[1.0]).is_nan());
        assert!(head(Vec::new()).logit(&[1.0, 2.0]).is_nan());
    }

    #[test]
    fn a_norm_is_of_the_whole_row() {
        let norm = Layer::Norm {
            weight: vec![1.0, 1.0, 2.0],
            bias: Vec::new(),
            epsilon: 1e-12,
        };
        let normed = norm.apply(&[1.0, 2.0, 3.0]);
        let side = 1.5_f32.sqrt();
        for (found, expected) in normed.iter().zip([-side, 0.0, 2.0 * side]) {
            assert!((found - expected).abs() < 1e-6, "{normed:?}");
        }
    }
}

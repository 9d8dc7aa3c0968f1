//! What BERT's descendants have in common: learned positions, LayerNorm behind each sum, biases, full
//! attention.

use akidb_onnx::Disagreement;
use akidb_onnx::Error;
use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::tensor::Tensor;

use super::checks::{check_epsilon, check_sizes, disagreements, invalid, shaped};
use crate::inspect::EncoderSizes;
use crate::transformer::{
    Activation, Attention, Block, BranchNorms, Embeddings, Head, Mask, Mlp, Norm, NormKind,
    PositionTable, RelativeBias, Transformer,
};
use crate::weights::{EmbeddingTable, Linear, LinearWeight};

/// Sizes and constants of an encoder, and what its tensors are called.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EncoderConfig {
    #[serde(skip)]
    pub(super) names: &'static Names,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) vocab_size: usize,
    /// Rows of the table of positions.
    pub(super) max_position_embeddings: usize,
    pub(super) layer_norm_eps: f32,
    #[serde(skip)]
    pub(super) activation: Activation,
    /// Token that isn't counted among the positions, which then begin behind its row.
    #[serde(skip)]
    pub(super) padding: Option<u32>,
}

/// What a family calls its tensors.
#[derive(Debug, PartialEq)]
pub(super) struct Names {
    /// What may stand before all names.
    pub(super) prefixes: &'static [&'static str],
    /// Before the number of a layer.
    pub(super) layers: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) mlp_norm: &'static str,
    /// The table of what is added to the scores of all layers.
    pub(super) relative_bias: Option<&'static str>,
}

/// From where on distances of keys are all the same, in all models there are.
pub(crate) const MAX_DISTANCE: usize = 128;

impl EncoderConfig {
    /// Refuses sizes that are zero, absurd, or contradict each other.
    pub(super) fn check(self) -> Result<Self, Error> {
        check_sizes(&self.sizes_of(self.max_position_embeddings))?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let why = format!("{} is no multiple of num_attention_heads", self.hidden_size);
            return Err(invalid("hidden_size", why));
        }
        check_epsilon("layer_norm_eps", self.layer_norm_eps)?;
        if self.first_row() >= self.max_position_embeddings {
            let why = format!("no position is left behind pad_token_id {:?}", self.padding);
            return Err(invalid("max_position_embeddings", why));
        }
        Ok(self)
    }

    /// Its sizes.
    pub(crate) fn sizes(&self) -> EncoderSizes {
        self.sizes_of(self.max_tokens())
    }

    fn sizes_of(&self, max_tokens: usize) -> EncoderSizes {
        EncoderSizes {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            vocab_size: self.vocab_size,
            max_tokens,
        }
    }

    /// Where a model's sizes are others than these.
    pub(super) fn disagreements(&self, model: &Transformer) -> Vec<Disagreement> {
        disagreements(&self.sizes(), model)
    }

    /// Row of the table of positions of a text's first token.
    fn first_row(&self) -> usize {
        self.padding.map_or(0, |padding| padding as usize + 1)
    }

    /// Longest text in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.first_row()
    }
}

/// Reads an encoder's tensors.
pub(super) fn read(
    tensors: &SafetensorsModel,
    config: &EncoderConfig,
) -> Result<Transformer, Error> {
    let names = config.names;
    let there = |prefix: &&&str| tensors.has(&format!("{prefix}embeddings.word_embeddings.weight"));
    let prefix = names
        .prefixes
        .iter()
        .find(there)
        .copied()
        .unwrap_or_default();
    let reader = Reader {
        tensors,
        prefix,
        config,
    };
    let encoder = reader.transformer()?;
    // A model with more layers than config.json says would answer, wrongly.
    let count = config.num_hidden_layers;
    let next = format!("{prefix}{}{count}.{}.weight", names.layers, names.query);
    if tensors.has(&next) {
        let why = format!("is there, but config.json says {count} layers");
        return Err(Error::tensor(&next, why));
    }
    Ok(encoder)
}

struct Reader<'a> {
    tensors: &'a SafetensorsModel,
    prefix: &'a str,
    config: &'a EncoderConfig,
}

impl Reader<'_> {
    fn transformer(&self) -> Result<Transformer, Error> {
        let config = self.config;
        let hidden = config.hidden_size;
        let table = |name: &str, rows: Option<usize>| {
            let tensor = self.tensor(&format!("embeddings.{name}.weight"))?;
            let rows = rows.unwrap_or(tensor.dims().first().copied().unwrap_or_default());
            EmbeddingTable::new(shaped(tensor, &[rows, hidden])?)
        };
        let token_types = "token_type_embeddings";
        let has_types = self.has(&format!("embeddings.{token_types}.weight"));
        let blocks = (0..config.num_hidden_layers).map(|i| self.block(i));
        Ok(Transformer {
            embeddings: Embeddings {
                words: table("word_embeddings", Some(config.vocab_size))?,
                scale: None,
                positions: Some(PositionTable {
                    table: table("position_embeddings", Some(config.max_position_embeddings))?,
                    first_row: config.first_row(),
                    padding: config.padding,
                }),
                token_types: match has_types {
                    true => Some(table(token_types, None)?),
                    false => None,
                },
                norm: Some(self.norm("embeddings.LayerNorm")?),
            },
            blocks: blocks.collect::<Result<_, Error>>()?,
            final_norm: None,
            head: Head::Mean,
            dense: Vec::new(),
            max_tokens: config.max_tokens(),
        })
    }

    fn block(&self, i: usize) -> Result<Block, Error> {
        let (config, names) = (self.config, self.config.names);
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let at = |name: &str| format!("{}{i}.{name}", names.layers);
        let linear = |name: &str, k, n| self.linear(&at(name), k, n);
        let norms = |name: &str| {
            Ok::<_, Error>(BranchNorms {
                of_sum: Some(self.norm(&at(name))?),
                ..BranchNorms::default()
            })
        };
        let head_dim = hidden / config.num_attention_heads;
        Ok(Block {
            attention: Attention {
                query: linear(names.query, hidden, hidden)?,
                key: linear(names.key, hidden, hidden)?,
                value: linear(names.value, hidden, hidden)?,
                output: linear(names.output, hidden, hidden)?,
                query_norm: None,
                key_norm: None,
                heads: config.num_attention_heads,
                key_value_heads: config.num_attention_heads,
                head_dim,
                scale: 1.0 / (head_dim as f32).sqrt(),
                rotary: None,
                mask: Mask::Full,
                relative_bias: self.relative_bias()?,
            },
            attention_norms: norms(names.attention_norm)?,
            mlp: Mlp {
                gate: None,
                up: linear(names.up, hidden, inner)?,
                down: linear(names.down, inner, hidden)?,
                activation: config.activation,
            },
            mlp_norms: norms(names.mlp_norm)?,
        })
    }

    fn relative_bias(&self) -> Result<Option<RelativeBias>, Error> {
        let Some(name) = self.config.names.relative_bias else {
            return Ok(None);
        };
        let table = self.tensor(name)?;
        let buckets = table.dims().first().copied().unwrap_or_default();
        let table = shaped(table, &[buckets, self.config.num_attention_heads])?;
        Ok(Some(RelativeBias {
            table: EmbeddingTable::new(table)?,
            max_distance: MAX_DISTANCE,
        }))
    }

    fn linear(&self, name: &str, k: usize, n: usize) -> Result<Linear, Error> {
        let weight = shaped(self.tensor(&format!("{name}.weight"))?, &[n, k])?;
        let bias = shaped(self.tensor(&format!("{name}.bias"))?, &[n])?;
        Linear::new(LinearWeight::OutIn(weight))?.with_bias(bias)
    }

    fn norm(&self, name: &str) -> Result<Norm, Error> {
        // As TensorFlow, and the first models of PyTorch, called them.
        let old = self.has(&format!("{name}.gamma"));
        let [weight, bias] = if old {
            ["gamma", "beta"]
        } else {
            ["weight", "bias"]
        };
        let part = |part: &str| {
            let tensor = self.tensor(&format!("{name}.{part}"))?;
            shaped(tensor, &[self.config.hidden_size])
        };
        Ok(Norm {
            kind: NormKind::Layer,
            weight: part(weight)?,
            bias: Some(part(bias)?),
            epsilon: self.config.layer_norm_eps,
        })
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        self.tensors.tensor(&format!("{}{name}", self.prefix))
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.has(&format!("{}{name}", self.prefix))
    }
}

//! What transformers have in common that turn their heads by position instead of adding positions to
//! their embeddings.

use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Disagreement, Error};

use super::checks::{MAX_LAYERS, check_epsilon, check_sizes, disagreements, invalid, shaped};
use crate::inspect::EncoderSizes;
use crate::rotary::{Rotary, RotaryScaling};
use crate::transformer::{
    Activation, Attention, Block, BranchNorms, Embeddings, Head, Mask, Mlp, Norm, NormKind,
    Transformer,
};
use crate::weights::{EmbeddingTable, Linear, LinearWeight};

/// Widest head, and largest base of rotary frequencies, that are believed.
const MAX_HEAD_DIM: usize = 1 << 10;
const MAX_BASE: f64 = 1e12;

/// Sizes and constants of a transformer that turns its heads, and what its tensors are called.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RotaryConfig {
    #[serde(skip)]
    pub(super) names: &'static Names,
    pub(super) hidden_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
    pub(super) intermediate_size: usize,
    pub(super) vocab_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) epsilon: f32,
    #[serde(skip)]
    pub(super) norm: NormKind,
    #[serde(skip)]
    pub(super) activation: Activation,
    pub(super) embedding_scale: Option<f32>,
    pub(super) attention_scale: f32,
    #[serde(skip)]
    pub(super) biases: Biases,
    /// Of each layer, where its tokens look and by which angles its heads are turned.
    #[serde(skip)]
    pub(super) layers: Vec<(Mask, Rotary)>,
    #[serde(skip)]
    pub(super) head: Head,
}

/// Which tensors have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Biases {
    pub(super) query_key_value: bool,
    pub(super) output: bool,
    pub(super) gate_up: bool,
    pub(super) down: bool,
    pub(super) norm: bool,
}

/// What a family calls its tensors.
#[derive(Debug, PartialEq)]
pub(super) struct Names {
    /// What may stand before all names.
    pub(super) prefixes: &'static [&'static str],
    pub(super) words: &'static str,
    /// Where the file has them.
    pub(super) token_types: Option<&'static str>,
    pub(super) embedding_norm: Option<&'static str>,
    /// Before the number of a layer.
    pub(super) layers: &'static str,
    pub(super) query_key_value: QueryKeyValue,
    pub(super) output: &'static str,
    /// Of queries and of keys, head by head.
    pub(super) head_norms: Option<[&'static str; 2]>,
    pub(super) attention_norms: NormNames,
    pub(super) gate_up: GateUp,
    pub(super) down: &'static str,
    pub(super) mlp_norms: NormNames,
    pub(super) final_norm: Option<&'static str>,
    /// Whether the first layer reads its embeddings, which are normed, without a norm before.
    pub(super) first_has_no_norm_before: bool,
}

/// Norms around a branch, as in [`BranchNorms`].
#[derive(Debug, PartialEq)]
pub(super) struct NormNames {
    pub(super) before: Option<&'static str>,
    pub(super) after: Option<&'static str>,
    pub(super) of_sum: Option<&'static str>,
}

impl NormNames {
    pub(super) const fn before(name: &'static str) -> Self {
        Self {
            before: Some(name),
            after: None,
            of_sum: None,
        }
    }

    pub(super) const fn of_sum(name: &'static str) -> Self {
        Self {
            before: None,
            after: None,
            of_sum: Some(name),
        }
    }
}

/// How the layers before attention are stored.
#[derive(Debug, PartialEq)]
pub(super) enum QueryKeyValue {
    /// Queries, then keys, then values.
    Together(&'static str),
    Apart([&'static str; 3]),
}

/// How the layers before the gate are stored.
#[derive(Debug, PartialEq)]
pub(super) enum GateUp {
    /// The gate's outputs, then the others.
    GateFirst(&'static str),
    /// The gate's outputs behind the others.
    GateSecond(&'static str),
    Apart {
        gate: &'static str,
        up: &'static str,
    },
}

impl RotaryConfig {
    /// Refuses sizes that are zero, absurd, or contradict each other.
    pub(super) fn check(self) -> Result<Self, Error> {
        check_sizes(&self.sizes())?;
        check_epsilon("layer_norm_eps", self.epsilon)?;
        if self.head_dim == 0 || self.head_dim > MAX_HEAD_DIM || !self.head_dim.is_multiple_of(2) {
            let why = format!(
                "{} is odd or not between 2 and {MAX_HEAD_DIM}",
                self.head_dim
            );
            return Err(invalid("head_dim", why));
        }
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        if shared == 0 || !heads.is_multiple_of(shared) {
            let why = format!("{heads} is no multiple of num_key_value_heads {shared}");
            return Err(invalid("num_attention_heads", why));
        }
        // These also refuse NaN.
        for (_, rotary) in &self.layers {
            if !(rotary.base > 1.0 && rotary.base <= MAX_BASE) {
                let why = format!("{} is not between 1 and {MAX_BASE:e}", rotary.base);
                return Err(invalid("rope_theta", why));
            }
            if !(rotary.position_scale > 0.0 && rotary.position_scale <= 1.0) {
                let why = format!("a factor of {} slows nothing", 1.0 / rotary.position_scale);
                return Err(invalid("rope_scaling", why));
            }
        }
        if !(self.attention_scale > 0.0 && self.attention_scale.is_finite()) {
            let why = format!("scores would be multiplied by {}", self.attention_scale);
            return Err(invalid("query_pre_attn_scalar", why));
        }
        Ok(self)
    }

    /// Its sizes.
    pub(crate) fn sizes(&self) -> EncoderSizes {
        EncoderSizes {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.layers.len(),
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            vocab_size: self.vocab_size,
            max_tokens: self.max_position_embeddings,
        }
    }

    /// Where a model's sizes are others than these.
    pub(super) fn disagreements(&self, model: &Transformer) -> Vec<Disagreement> {
        disagreements(&self.sizes(), model)
    }

    /// Longest text in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings
    }
}

/// Reads a transformer's tensors.
pub(super) fn read(
    tensors: &SafetensorsModel,
    config: &RotaryConfig,
) -> Result<Transformer, Error> {
    let names = config.names;
    let there = |prefix: &&&str| tensors.has(&format!("{prefix}{}.weight", names.words));
    let prefix = names.prefixes.iter().find(there).copied();
    let reader = Reader {
        tensors,
        prefix: prefix.unwrap_or_default(),
        config,
    };
    let model = reader.transformer()?;
    // A model with more layers than config.json says would answer, wrongly.
    let count = config.layers.len();
    let next = format!("{}{count}.{}", names.layers, names.output);
    match reader.has(&next) {
        true => {
            let why = format!("is there, but config.json says {count} layers");
            Err(Error::tensor(&next, why))
        }
        false => Ok(model),
    }
}

struct Reader<'a> {
    tensors: &'a SafetensorsModel,
    prefix: &'a str,
    config: &'a RotaryConfig,
}

impl Reader<'_> {
    fn transformer(&self) -> Result<Transformer, Error> {
        let (config, names) = (self.config, self.config.names);
        let hidden = config.hidden_size;
        let words = self.weight(names.words)?;
        let token_types = names.token_types.filter(|name| self.has(name));
        let token_types = token_types.map(|name| {
            let table = self.weight(name)?;
            let rows = table.dims().first().copied().unwrap_or_default();
            EmbeddingTable::new(shaped(table, &[rows, hidden])?)
        });
        let norm = |name: &str| self.norm(name, hidden);
        let blocks = (0..config.layers.len()).map(|i| self.block(i));
        Ok(Transformer {
            embeddings: Embeddings {
                words: EmbeddingTable::new(shaped(words, &[config.vocab_size, hidden])?)?,
                scale: config.embedding_scale,
                positions: None,
                token_types: token_types.transpose()?,
                norm: names.embedding_norm.map(norm).transpose()?,
            },
            blocks: blocks.collect::<Result<_, Error>>()?,
            final_norm: names.final_norm.map(norm).transpose()?,
            head: config.head,
            dense: Vec::new(),
            max_tokens: config.max_position_embeddings,
        })
    }

    fn block(&self, i: usize) -> Result<Block, Error> {
        let (config, names) = (self.config, self.config.names);
        let (hidden, biases) = (config.hidden_size, config.biases);
        let at = |name: &str| format!("{}{i}.{name}", names.layers);
        let queries = config.num_attention_heads * config.head_dim;
        let [query, key, value] = self.query_key_value(&at)?;
        let head_norm = |which: usize| {
            let name = names.head_norms.map(|names| at(names[which]));
            name.map(|name| self.norm(&name, config.head_dim))
                .transpose()
        };
        let (mask, rotary) = config.layers[i];
        let no_norm_before = i == 0 && names.first_has_no_norm_before;
        let (gate, up) = self.gate_up(&at)?;
        let inner = config.intermediate_size;
        Ok(Block {
            attention: Attention {
                query,
                key,
                value,
                output: self.linear(&at(names.output), [queries, hidden], biases.output)?,
                query_norm: head_norm(0)?,
                key_norm: head_norm(1)?,
                heads: config.num_attention_heads,
                key_value_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
                scale: config.attention_scale,
                rotary: Some(rotary),
                mask,
                relative_bias: None,
            },
            attention_norms: self.norms(&names.attention_norms, &at, no_norm_before)?,
            mlp: Mlp {
                gate: Some(gate),
                up,
                down: self.linear(&at(names.down), [inner, hidden], biases.down)?,
                activation: config.activation,
            },
            mlp_norms: self.norms(&names.mlp_norms, &at, false)?,
        })
    }

    fn query_key_value(&self, at: &impl Fn(&str) -> String) -> Result<[Linear; 3], Error> {
        let config = self.config;
        let bias = config.biases.query_key_value;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        match config.names.query_key_value {
            QueryKeyValue::Together(name) => {
                let width = queries + 2 * keys;
                let all = self.linear(&at(name), [config.hidden_size, width], bias)?;
                Ok([
                    all.outputs(0..queries)?,
                    all.outputs(queries..queries + keys)?,
                    all.outputs(queries + keys..width)?,
                ])
            }
            QueryKeyValue::Apart([query, key, value]) => {
                let linear =
                    |name, width| self.linear(&at(name), [config.hidden_size, width], bias);
                Ok([
                    linear(query, queries)?,
                    linear(key, keys)?,
                    linear(value, keys)?,
                ])
            }
        }
    }

    /// The gate, and what it is multiplied with.
    fn gate_up(&self, at: &impl Fn(&str) -> String) -> Result<(Linear, Linear), Error> {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |name, width| self.linear(&at(name), [hidden, width], config.biases.gate_up);
        let halves = |name| {
            let both = linear(name, 2 * inner)?;
            Ok::<_, Error>((both.outputs(0..inner)?, both.outputs(inner..2 * inner)?))
        };
        match config.names.gate_up {
            GateUp::GateFirst(name) => halves(name),
            GateUp::GateSecond(name) => halves(name).map(|(up, gate)| (gate, up)),
            GateUp::Apart { gate, up } => Ok((linear(gate, inner)?, linear(up, inner)?)),
        }
    }

    fn norms(
        &self,
        names: &NormNames,
        at: &impl Fn(&str) -> String,
        no_norm_before: bool,
    ) -> Result<BranchNorms, Error> {
        let norm = |name: Option<&str>| {
            let name = name.map(at);
            name.map(|name| self.norm(&name, self.config.hidden_size))
                .transpose()
        };
        Ok(BranchNorms {
            before: norm(names.before.filter(|_| !no_norm_before))?,
            after: norm(names.after)?,
            of_sum: norm(names.of_sum)?,
        })
    }

    /// A layer of `k` inputs and `n` outputs.
    fn linear(&self, name: &str, [k, n]: [usize; 2], has_bias: bool) -> Result<Linear, Error> {
        let weight = shaped(self.weight(name)?, &[n, k])?;
        let linear = Linear::new(LinearWeight::OutIn(weight))?;
        match self.bias(name, n, has_bias)? {
            Some(bias) => linear.with_bias(bias),
            None => Ok(linear),
        }
    }

    fn norm(&self, name: &str, len: usize) -> Result<Norm, Error> {
        Ok(Norm {
            kind: self.config.norm,
            weight: shaped(self.weight(name)?, &[len])?,
            bias: self.bias(name, len, self.config.biases.norm)?,
            epsilon: self.config.epsilon,
        })
    }

    /// The bias of a layer or norm. The file and config.json must agree on whether there is one.
    fn bias(&self, name: &str, len: usize, wanted: bool) -> Result<Option<Tensor>, Error> {
        let name = format!("{name}.bias");
        let full = format!("{}{name}", self.prefix);
        match (wanted, self.tensors.has(&full)) {
            (true, _) => shaped(self.tensors.tensor(&full)?, &[len]).map(Some),
            (false, false) => Ok(None),
            (false, true) => Err(Error::tensor(
                &full,
                "is there, but config.json says that there is none".to_owned(),
            )),
        }
    }

    fn weight(&self, name: &str) -> Result<Tensor, Error> {
        self.tensors
            .tensor(&format!("{}{name}.weight", self.prefix))
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.has(&format!("{}{name}.weight", self.prefix))
    }
}

/// Rotary embedding of whole heads at a base.
pub(super) fn plain(base: f64, head_dim: usize) -> Rotary {
    Rotary {
        base,
        position_scale: 1.0,
        width: head_dim,
        scaling: RotaryScaling::None,
    }
}

/// Layers that all look and turn alike.
pub(super) fn alike(
    count: usize,
    mask: Mask,
    rotary: Rotary,
) -> Result<Vec<(Mask, Rotary)>, Error> {
    Ok(vec![(mask, rotary); check_layers(count)?])
}

/// A number of layers, before there is something of each.
pub(super) fn check_layers(count: usize) -> Result<usize, Error> {
    match count {
        1..=MAX_LAYERS => Ok(count),
        _ => {
            let why = format!("{count} is not between 1 and {MAX_LAYERS}");
            Err(invalid("num_hidden_layers", why))
        }
    }
}

//! Finds a decoder in an ONNX graph by its edges.
//!
//! The walk goes back from the last hidden state: final norm, then layer by layer the MLP and the
//! attention, down to the embedding table. Names serve error texts only. The known forms are
//! those of ONNX Runtime GenAI's model builder, what ONNX Runtime's quantizers make of them, and
//! ONNX's own `Attention`, `RotaryEmbedding` and `RMSNormalization` of opset 23, in any mixture;
//! whatever else turns up is named in
//! [`ErrorKind::NotRecognised`](akidb_onnx::ErrorKind::NotRecognised).

mod heads;
mod normal;
mod reader;
mod recogniser;
mod rotary;
mod rules;
mod trace;
mod walk;

use reader::Found;
use recogniser::Recogniser;
use rotary::RotaryCache;
use trace::End;
use walk::{not_recognised, unknown};

use crate::config::DecoderConfig;
use crate::families::ModelConfig;
use crate::rotary::{Rotary, RotaryScaling};
use crate::shapes;
use crate::transformer::{Block, Embeddings, Head, ScoreLayer, Transformer};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::{Disagreement, Error, ErrorKind};

/// The decoder that `model` computes. Weights stay in the mapped file; scales and zero points of
/// quantized ones are looked at.
///
/// With a `config`, the graph must agree with it, and `rope_theta` and `max_position_embeddings`
/// are taken from it. Without, `rope_theta` is worked out from the rotary tables, and their length
/// is `max_position_embeddings`.
///
/// # Errors
/// [`ErrorKind::NotRecognised`] when the graph is sound but something else than a known form of
/// decoder, see [`Error::is_not_recognised`]; [`ErrorKind::Disagreement`] when `config` says
/// otherwise; others when tensors are broken or contradict each other.
pub fn recognise(model: &OnnxModel, config: Option<&DecoderConfig>) -> Result<Transformer, Error> {
    let Recognised {
        mut transformer,
        rotary,
    } = Recognised::new(model)?;
    let Some(config) = config else {
        return Ok(transformer);
    };
    let disagreements = disagreements(&transformer, &rotary, config)?;
    if let Some(first) = disagreements.into_iter().next() {
        return Err(model.locate(ErrorKind::Disagreement(first).into()));
    }
    turn(&mut transformer, config.rope_theta);
    transformer.max_tokens = config.max_position_embeddings;
    Ok(transformer)
}

/// The model that `model` computes: a decoder as in [`recognise`], or an encoder, however it is spelled.
/// What heads it has follows from other files.
///
/// # Errors
/// As [`recognise`].
pub fn from_onnx(model: &OnnxModel, config: Option<&ModelConfig>) -> Result<Transformer, Error> {
    let known = match config {
        Some(ModelConfig::Decoder(config)) => recognise(model, Some(config)),
        None => recognise(model, None),
        Some(config) => return states(model, Some(config)),
    };
    match known {
        Err(e) if e.is_not_recognised() => states(model, config).map_err(|other| {
            // What is recognised and then contradicts config.json says more.
            if other.is_not_recognised() { e } else { other }
        }),
        known => known,
    }
}

fn states(model: &OnnxModel, config: Option<&ModelConfig>) -> Result<Transformer, Error> {
    traced(model, config, End::States).map(|(transformer, _)| transformer)
}

/// The model that `model` computes when it is run on a sample, which must agree with `config`.
fn traced(
    model: &OnnxModel,
    config: Option<&ModelConfig>,
    end: End,
) -> Result<(Transformer, Vec<ScoreLayer>), Error> {
    let (mut found, layers) = encoder(model, end)?;
    let Some(config) = config else {
        return Ok((found, layers));
    };
    if let Some(first) = config.disagreements(&found).into_iter().next() {
        return Err(model.locate(ErrorKind::Disagreement(first).into()));
    }
    for (i, block) in found.blocks.iter_mut().enumerate() {
        let (Some(graph), Some(said)) = (block.attention.rotary, config.rotary(i)) else {
            continue;
        };
        // Tables of f16 tell it roughly.
        let is_near = |a: f64, b: f64| (a / b - 1.0).abs() <= 0.1;
        let agrees = is_near(graph.base, said.base)
            && is_near(graph.position_scale, said.position_scale)
            && graph.width == said.width
            && graph.scaling == said.scaling;
        if !agrees {
            let disagreement = Disagreement {
                key: "rope_theta",
                config: said.base.to_string(),
                graph: graph.base.to_string(),
            };
            return Err(model.locate(ErrorKind::Disagreement(disagreement).into()));
        }
        block.attention.rotary = Some(said);
    }
    found.max_tokens = found.max_tokens.min(config.max_tokens());
    Ok((found, layers))
}

/// The model that `model` computes, and the layers that make scores of its pooled states: of a
/// classifier those behind the pooling, which is the model's head then; of a decoder the one that makes
/// logits.
///
/// # Errors
/// As [`recognise`].
pub fn scorer_from_onnx(
    model: &OnnxModel,
    config: Option<&ModelConfig>,
) -> Result<(Transformer, Vec<ScoreLayer>), Error> {
    let known = match config {
        Some(ModelConfig::Decoder(config)) => recognise(model, Some(config)),
        None => recognise(model, None),
        Some(config) => return traced(model, Some(config), End::Scores),
    };
    let with_logits = known.and_then(|known| {
        let logits = Recogniser::new(model).logits();
        let logits = logits.map_err(|e| model.locate(e))?;
        let missing = || not_recognised("", "graph", "it has no logits");
        let (logits, _) = logits.ok_or_else(missing)?;
        Ok((known, vec![ScoreLayer::Linear(Box::new(logits))]))
    });
    match with_logits {
        Err(e) if e.is_not_recognised() => traced(model, config, End::Scores).map_err(|other| {
            // What is recognised and then contradicts config.json says more.
            if other.is_not_recognised() { e } else { other }
        }),
        known => known,
    }
}

/// The encoder that `model` computes, however it is spelled.
pub(crate) fn encoder_from_onnx(model: &OnnxModel) -> Result<Transformer, Error> {
    encoder(model, End::States).map(|(transformer, _)| transformer)
}

fn encoder(model: &OnnxModel, end: End) -> Result<(Transformer, Vec<ScoreLayer>), Error> {
    let recogniser = Recogniser::new(model);
    let output = match end {
        End::States => recogniser.hidden_state(),
        End::Scores => recogniser.scores(),
    };
    let found = output.and_then(|output| trace::trace(model, output, end));
    found.map_err(|e| model.locate(e))
}

/// A transformer as the graph tells it.
pub(crate) struct Recognised {
    pub(crate) transformer: Transformer,
    rotary: RotaryCache,
}

impl Recognised {
    pub(crate) fn new(model: &OnnxModel) -> Result<Self, Error> {
        let found = Recogniser::new(model).run();
        found.and_then(Self::assemble).map_err(|e| model.locate(e))
    }

    fn assemble(found: Found<'_>) -> Result<Self, Error> {
        let rotary = RotaryCache::new(found.cos_cache, found.sin_cache, found.head_dim)?;
        let base = rotary
            .base()?
            .ok_or_else(|| unknown(found.rotary, "its tables have no plain base"))?;
        let mut transformer = Transformer {
            embeddings: Embeddings {
                words: found.embed_tokens,
                scale: None,
                positions: None,
                token_types: None,
                norm: None,
            },
            blocks: found.blocks,
            final_norm: Some(found.final_norm),
            head: Head::LastToken,
            dense: Vec::new(),
            max_tokens: rotary.positions(),
        };
        turn(&mut transformer, base);
        let config = transformer.decoder_config();
        // The same rules as for config.json, but the numbers are the graph's.
        config.check().map_err(|e| match e.kind() {
            ErrorKind::Config { key, why } => Error::graph(format!("{key}: {why}")),
            _ => e,
        })?;
        shapes::check(&transformer, &config)?;
        Ok(Self {
            transformer,
            rotary,
        })
    }

    /// Where `config.json` and the graph differ.
    pub(crate) fn disagreements(&self, config: &DecoderConfig) -> Result<Vec<Disagreement>, Error> {
        disagreements(&self.transformer, &self.rotary, config)
    }
}

/// Turns the heads of all blocks with frequencies of this base.
fn turn(transformer: &mut Transformer, base: f64) {
    for Block { attention, .. } in &mut transformer.blocks {
        let width = attention.head_dim;
        attention.rotary = Some(Rotary {
            base,
            position_scale: 1.0,
            width,
            scaling: RotaryScaling::None,
        });
    }
}

fn disagreements(
    transformer: &Transformer,
    rotary: &RotaryCache,
    config: &DecoderConfig,
) -> Result<Vec<Disagreement>, Error> {
    let graph = transformer.decoder_config();
    let mut found = config.disagreements(&graph);
    if !rotary.has_base(config.rope_theta)? {
        found.push(Disagreement {
            key: "rope_theta",
            config: config.rope_theta.to_string(),
            graph: graph.rope_theta.to_string(),
        });
    }
    if config.max_position_embeddings > graph.max_position_embeddings {
        found.push(Disagreement {
            key: "max_position_embeddings",
            config: config.max_position_embeddings.to_string(),
            graph: graph.max_position_embeddings.to_string(),
        });
    }
    Ok(found)
}

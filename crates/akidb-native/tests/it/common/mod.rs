//! Small random decoders, and the same arithmetic done plainly in f64.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "every test file uses a part of this; a test may panic"
)]

use std::num::NonZeroUsize;

use akidb_backend::{Backend, TokenBatch};
use akidb_kernels::Isa;
use akidb_native::{Engine, EngineOptions, Precision};
use akidb_onnx::tensor::{DataType, Tensor};
use akidb_transformer::{
    Activation, Attention, Block, BranchNorms, DecoderConfig, Dense, DenseActivation,
    EmbeddingTable, Embeddings, Head, Linear, LinearWeight, Mask, Mlp, Norm, NormKind,
    PositionTable, Rotary, RotaryScaling, Transformer,
};

/// Repeatable numbers (an LCG by Knuth).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number in -1..1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// Token ids of a text.
    pub(crate) fn text(&mut self, len: usize, vocab_size: usize) -> Vec<u32> {
        (0..len).map(|_| self.below(vocab_size) as u32).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0
    }
}

/// A configuration whose widths are no multiples of a vector.
pub(crate) fn config(
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
) -> DecoderConfig {
    DecoderConfig {
        hidden_size: 52,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        intermediate_size: 75,
        vocab_size: 97,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        max_position_embeddings: 12_000,
    }
}

/// An f32 tensor.
pub(crate) fn tensor(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::new(name, DataType::F32, dims.to_vec(), bytes.into()).unwrap()
}

/// A decoder with random weights. Layers with an even index store their linear weights as ONNX
/// does, the others as PyTorch does.
pub(crate) fn decoder(config: &DecoderConfig, seed: u64) -> Transformer {
    let mut random = Random(seed);
    let c = config;
    let norm = |random: &mut Random, name: &str, len: usize| {
        let values: Vec<f32> = (0..len).map(|_| 1.0 + 0.3 * random.float()).collect();
        Norm {
            kind: NormKind::Rms,
            weight: tensor(name, &[len], &values),
            bias: None,
            epsilon: c.rms_norm_eps,
        }
    };
    let norm_before = |random: &mut Random, name: &str| BranchNorms {
        before: Some(norm(random, name, c.hidden_size)),
        ..BranchNorms::default()
    };
    let linear = |random: &mut Random, name: String, k: usize, n: usize, in_out: bool| {
        let scale = 2.0 / (k as f32).sqrt();
        let values: Vec<f32> = (0..k * n).map(|_| scale * random.float()).collect();
        let weight = if in_out {
            LinearWeight::InOut(tensor(&name, &[k, n], &values))
        } else {
            LinearWeight::OutIn(tensor(&name, &[n, k], &values))
        };
        Linear::new(weight).unwrap()
    };
    let q_width = c.num_attention_heads * c.head_dim;
    let kv_width = c.num_key_value_heads * c.head_dim;
    let (hidden, inner) = (c.hidden_size, c.intermediate_size);
    let blocks = (0..c.num_hidden_layers)
        .map(|i| {
            let r = &mut random;
            let linear = |r: &mut Random, what: &str, k, n| {
                linear(r, format!("layers.{i}.{what}"), k, n, i % 2 == 0)
            };
            Block {
                attention_norms: norm_before(r, "input_layernorm"),
                attention: Attention {
                    query: linear(r, "q_proj", hidden, q_width),
                    key: linear(r, "k_proj", hidden, kv_width),
                    value: linear(r, "v_proj", hidden, kv_width),
                    query_norm: Some(norm(r, "q_norm", c.head_dim)),
                    key_norm: Some(norm(r, "k_norm", c.head_dim)),
                    output: linear(r, "o_proj", q_width, hidden),
                    heads: c.num_attention_heads,
                    key_value_heads: c.num_key_value_heads,
                    head_dim: c.head_dim,
                    scale: 1.0 / (c.head_dim as f32).sqrt(),
                    rotary: Some(Rotary {
                        base: c.rope_theta,
                        position_scale: 1.0,
                        width: c.head_dim,
                        scaling: RotaryScaling::None,
                    }),
                    mask: Mask::Causal,
                    relative_bias: None,
                },
                mlp_norms: norm_before(r, "post_attention_layernorm"),
                mlp: Mlp {
                    gate: Some(linear(r, "gate_proj", hidden, inner)),
                    up: linear(r, "up_proj", hidden, inner),
                    down: linear(r, "down_proj", inner, hidden),
                    activation: Activation::Silu,
                },
            }
        })
        .collect();
    let embedding: Vec<f32> = (0..c.vocab_size * hidden).map(|_| random.float()).collect();
    let embedding = tensor("embed_tokens", &[c.vocab_size, hidden], &embedding);
    Transformer {
        embeddings: Embeddings {
            words: EmbeddingTable::new(embedding).unwrap(),
            scale: None,
            positions: None,
            token_types: None,
            norm: None,
        },
        blocks,
        final_norm: Some(norm(&mut random, "norm", hidden)),
        head: Head::LastToken,
        dense: Vec::new(),
        max_tokens: c.max_position_embeddings,
    }
}

/// The same as an encoder of BERT's kind: full attention, biases, LayerNorm behind each sum, learned
/// positions, token types, an MLP without a gate.
pub(crate) fn encoder(config: &DecoderConfig, seed: u64, head: Head) -> Transformer {
    let mut random = Random(seed + 1000);
    let mut values = |len: usize, middle: f32| -> Vec<f32> {
        (0..len).map(|_| middle + 0.3 * random.float()).collect()
    };
    let width = config.hidden_size;
    let mut layer_norm = || Norm {
        kind: NormKind::Layer,
        weight: tensor("LayerNorm.weight", &[width], &values(width, 1.0)),
        bias: Some(tensor("LayerNorm.bias", &[width], &values(width, 0.0))),
        epsilon: 1e-12,
    };
    let mut model = decoder(config, seed);
    model.head = head;
    model.final_norm = None;
    model.embeddings.norm = Some(layer_norm());
    for block in &mut model.blocks {
        let mut behind = || BranchNorms {
            of_sum: Some(layer_norm()),
            ..BranchNorms::default()
        };
        (block.attention_norms, block.mlp_norms) = (behind(), behind());
        let attention = &mut block.attention;
        (attention.query_norm, attention.key_norm) = (None, None);
        (attention.rotary, attention.mask) = (None, Mask::Full);
        block.mlp.gate = None;
        block.mlp.activation = Activation::GeluErf;
    }
    let mut random = Random(seed + 2000);
    let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| random.float()).collect() };
    for block in &mut model.blocks {
        let (attention, mlp) = (&mut block.attention, &mut block.mlp);
        for linear in [
            &mut attention.query,
            &mut attention.key,
            &mut attention.value,
            &mut attention.output,
            &mut mlp.up,
            &mut mlp.down,
        ] {
            let n = linear.out_features();
            let bias = tensor("bias", &[n], &values(n));
            *linear = linear.clone().with_bias(bias).unwrap();
        }
    }
    let mut table = |rows: usize| {
        let values = values(rows * width);
        EmbeddingTable::new(tensor("table", &[rows, width], &values)).unwrap()
    };
    model.embeddings.token_types = Some(table(2));
    model.embeddings.positions = Some(PositionTable {
        table: table(config.max_position_embeddings + 2),
        first_row: 2,
        padding: Some(1),
    });
    model
}

/// The same as an encoder of later kinds: every other block sees a window and turns its heads faster,
/// without a norm; branches are normed before and behind; gates are those of GELU; the pooled state
/// passes two more layers.
pub(crate) fn local_encoder(config: &DecoderConfig, seed: u64, head: Head) -> Transformer {
    let mut random = Random(seed + 3000);
    let width = config.hidden_size;
    let mut model = decoder(config, seed);
    model.head = head;
    let norm = model.final_norm.clone();
    for (i, block) in model.blocks.iter_mut().enumerate() {
        (block.attention_norms.after, block.mlp_norms.after) = (norm.clone(), norm.clone());
        let attention = &mut block.attention;
        (attention.mask, block.mlp.activation) = (Mask::Full, Activation::GeluTanh);
        if i % 2 == 0 {
            attention.mask = Mask::Window {
                before: 11,
                after: 20,
            };
            let rotary = attention.rotary.as_mut().unwrap();
            (rotary.base, rotary.position_scale) = (500.0, 0.5);
            (attention.query_norm, attention.key_norm) = (None, None);
            block.mlp.activation = Activation::GeluErf;
        }
    }
    let mut dense = |k: usize, n: usize, activation| {
        let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| random.float()).collect() };
        let weight = tensor("linear.weight", &[n, k], &values(n * k));
        let bias = tensor("linear.bias", &[n], &values(n));
        let linear = Linear::new(LinearWeight::OutIn(weight)).unwrap();
        Dense {
            linear: linear.with_bias(bias).unwrap(),
            activation,
        }
    };
    model.dense = vec![
        dense(width, 70, DenseActivation::Tanh),
        dense(70, 33, DenseActivation::Identity),
    ];
    model
}

/// An engine in f32 with so many threads, on `isa` or the best tier.
pub(crate) fn engine(decoder: &Transformer, threads: usize, isa: Option<Isa>) -> Engine {
    engine_of(decoder, threads, isa, Precision::F32)
}

pub(crate) fn engine_of(
    decoder: &Transformer,
    threads: usize,
    isa: Option<Isa>,
    precision: Precision,
) -> Engine {
    let options = EngineOptions {
        threads: NonZeroUsize::new(threads),
        isa,
        precision,
        ..EngineOptions::default()
    };
    Engine::new(decoder, options).unwrap()
}

/// One row per text.
pub(crate) fn run(engine: &Engine, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let batch: TokenBatch = texts.iter().collect();
    let width = engine.info().hidden_size;
    let mut out = vec![f32::NAN; texts.len() * width];
    engine.forward(&batch, &mut out).unwrap();
    out.chunks(width).map(<[f32]>::to_vec).collect()
}

/// Bits of every value.
pub(crate) fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let bits = |row: &Vec<f32>| row.iter().map(|v| v.to_bits()).collect();
    rows.iter().map(bits).collect()
}

/// The row of a text, computed in f64 straight from the definition.
pub(crate) fn reference(model: &Transformer, ids: &[u32]) -> Vec<f64> {
    let embeddings = &model.embeddings;
    let width = model.hidden_size();
    let row = |table: &EmbeddingTable, row: usize| table_row(table, row);
    let mut hidden: Vec<Vec<f64>> = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let mut x = row(&embeddings.words, *id as usize);
        if let Some(scale) = embeddings.scale {
            x.iter_mut().for_each(|x| *x *= f64::from(scale));
        }
        if let Some(positions) = &embeddings.positions {
            let place = positions.rows_of(ids).nth(place).unwrap();
            add(&mut x, &row(&positions.table, place));
        }
        if let Some(types) = &embeddings.token_types {
            add(&mut x, &row(types, 0));
        }
        hidden.push(normed(&x, embeddings.norm.as_ref()));
    }
    for block in &model.blocks {
        reference_block(block, &mut hidden);
    }
    for x in &mut hidden {
        *x = normed(x, model.final_norm.as_ref());
    }
    let mut pooled = match model.head {
        Head::LastToken => hidden.pop().unwrap(),
        Head::FirstToken => hidden.remove(0),
        Head::Mean => {
            let mut sum = vec![0.0; width];
            hidden.iter().for_each(|x| add(&mut sum, x));
            sum.iter().map(|x| x / hidden.len() as f64).collect()
        }
        Head::MeanSqrtLen => {
            let mut sum = vec![0.0; width];
            hidden.iter().for_each(|x| add(&mut sum, x));
            let root = (hidden.len() as f64).sqrt();
            sum.iter().map(|x| x / root).collect()
        }
        Head::WeightedMean => {
            let mut sum = vec![0.0; width];
            for (x, weight) in hidden.iter().zip(1..) {
                let weighted: Vec<f64> = x.iter().map(|x| x * f64::from(weight)).collect();
                add(&mut sum, &weighted);
            }
            let weights = (hidden.len() * (hidden.len() + 1) / 2) as f64;
            sum.iter().map(|x| x / weights).collect()
        }
        Head::Max => {
            let mut largest = vec![f64::NEG_INFINITY; width];
            for x in &hidden {
                largest.iter_mut().zip(x).for_each(|(m, x)| *m = m.max(*x));
            }
            largest
        }
    };
    for dense in &model.dense {
        pooled = product(&pooled, &dense.linear);
        if dense.activation == DenseActivation::Tanh {
            pooled.iter_mut().for_each(|x| *x = x.tanh());
        }
    }
    pooled
}

fn reference_block(block: &Block, hidden: &mut [Vec<f64>]) {
    let (attention, mlp) = (&block.attention, &block.mlp);
    let dim = attention.head_dim;
    let heads = |x: &[f64], norm: Option<&Norm>, position: usize| -> Vec<Vec<f64>> {
        let turned = |x: Vec<f64>| match attention.rotary {
            Some(rotary) => rotate(rotary, &x, position),
            None => x,
        };
        x.chunks(dim)
            .map(|head| turned(normed(head, norm)))
            .collect()
    };
    let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (position, x) in hidden.iter().enumerate() {
        let x = normed(x, block.attention_norms.before.as_ref());
        let (query_norm, key_norm) = (&attention.query_norm, &attention.key_norm);
        let query = product(&x, &attention.query);
        queries.push(heads(&query, query_norm.as_ref(), position));
        keys.push(heads(
            &product(&x, &attention.key),
            key_norm.as_ref(),
            position,
        ));
        values.push(product(&x, &attention.value));
    }
    let group = attention.heads / attention.key_value_heads;
    for (position, x) in hidden.iter_mut().enumerate() {
        let (first, end) = match attention.mask {
            Mask::Causal => (0, position + 1),
            Mask::Full => (0, keys.len()),
            Mask::Window { before, after } => (
                position.saturating_sub(before),
                keys.len().min(position + after + 1),
            ),
        };
        let mut attended = Vec::new();
        for (head, query) in queries[position].iter().enumerate() {
            let kv = head / group;
            let scores = keys[first..end].iter().map(|key| dot(query, &key[kv]));
            let scores = scores.enumerate().map(|(key, score)| {
                let bias = attention.relative_bias.as_ref().map_or(0.0, |bias| {
                    let behind = (first + key) as isize - position as isize;
                    table_row(&bias.table, bias.bucket(behind))[head]
                });
                score * f64::from(attention.scale) + bias
            });
            let weights: Vec<f64> = scores.map(f64::exp).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..dim {
                let terms = weights.iter().zip(&values[first..]);
                let sum: f64 = terms.map(|(w, v)| w * v[kv * dim + i]).sum();
                attended.push(sum / total);
            }
        }
        let attended = product(&attended, &attention.output);
        add(x, &normed(&attended, block.attention_norms.after.as_ref()));
        *x = normed(x, block.attention_norms.of_sum.as_ref());
        let y = normed(x, block.mlp_norms.before.as_ref());
        let up = product(&y, &mlp.up);
        let inner: Vec<f64> = match &mlp.gate {
            Some(gate) => {
                let gate = product(&y, gate).into_iter().zip(up);
                gate.map(|(g, u)| activated(mlp.activation, g) * u)
                    .collect()
            }
            None => up
                .into_iter()
                .map(|x| activated(mlp.activation, x))
                .collect(),
        };
        let inner = product(&inner, &mlp.down);
        add(x, &normed(&inner, block.mlp_norms.after.as_ref()));
        *x = normed(x, block.mlp_norms.of_sum.as_ref());
    }
}

fn activated(activation: Activation, x: f64) -> f64 {
    let pi = std::f64::consts::PI;
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / pi).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
        // Φ by its series, which is exact enough for the small numbers here.
        _ => {
            let (mut term, mut sum) = (x, x);
            for i in 1..200 {
                term *= x * x / f64::from(2 * i + 1);
                sum += term;
                if term.abs() < 1e-18 {
                    break;
                }
            }
            x * (0.5 + (-x * x / 2.0).exp() / (2.0 * pi).sqrt() * sum)
        }
    }
}

fn normed(x: &[f64], norm: Option<&Norm>) -> Vec<f64> {
    let Some(norm) = norm else {
        return x.to_vec();
    };
    let n = x.len() as f64;
    let mean = match norm.kind {
        NormKind::Layer => x.iter().sum::<f64>() / n,
        _ => 0.0,
    };
    let x: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let deviation = (dot(&x, &x) / n + f64::from(norm.epsilon)).sqrt();
    let more = if norm.kind == NormKind::RmsPlusOne {
        1.0
    } else {
        0.0
    };
    let weights = f64s(&norm.weight).into_iter();
    let terms = x.iter().zip(weights);
    let mut x: Vec<f64> = terms.map(|(x, w)| x / deviation * (w + more)).collect();
    if let Some(bias) = &norm.bias {
        add(&mut x, &f64s(bias));
    }
    x
}

fn table_row(table: &EmbeddingTable, row: usize) -> Vec<f64> {
    let mut values = vec![0.0; table.hidden_size()];
    table.read_row(row, &mut values).unwrap();
    values.into_iter().map(f64::from).collect()
}

fn f64s(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.to_f32_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn product(x: &[f64], linear: &Linear) -> Vec<f64> {
    let k = linear.in_features();
    let mut weight = vec![0.0; k * linear.out_features()];
    linear.dequantize(0, &mut weight).unwrap();
    let element = |row: &[f32]| -> f64 {
        let terms = x.iter().zip(row);
        terms.map(|(x, &w)| x * f64::from(w)).sum()
    };
    let mut outputs: Vec<f64> = weight.chunks_exact(k).map(element).collect();
    if let Some(bias) = linear.bias() {
        add(&mut outputs, &f64s(bias));
    }
    outputs
}

fn rotate(rotary: Rotary, x: &[f64], position: usize) -> Vec<f64> {
    let half = x.len() / 2;
    let (base, position) = (rotary.base, position as f64 * rotary.position_scale);
    let turned = |i: usize| {
        let angle = position / base.powf((i % half) as f64 / half as f64);
        let other = if i < half { -x[half + i] } else { x[i - half] };
        x[i] * angle.cos() + other * angle.sin()
    };
    (0..x.len()).map(turned).collect()
}

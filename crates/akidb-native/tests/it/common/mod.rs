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
    Activation, Attention, Block, BranchNorms, DecoderBlock, DecoderConfig, EmbeddingTable,
    Embeddings, Head, Linear, LinearWeight, Mask, Mlp, Norm, NormKind, Rotary, Transformer,
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
                        width: c.head_dim,
                    }),
                    mask: Mask::Causal,
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
        max_tokens: c.max_position_embeddings,
    }
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

/// The last token's hidden state, computed in f64 straight from the definition.
pub(crate) fn reference(decoder: &Transformer, ids: &[u32]) -> Vec<f64> {
    let c = &decoder.decoder_config();
    let (blocks, norm) = decoder.decoder_blocks().unwrap();
    let table = f64s(decoder.embeddings.words.tensor());
    let mut hidden: Vec<Vec<f64>> = ids
        .iter()
        .map(|id| table[*id as usize * c.hidden_size..][..c.hidden_size].to_vec())
        .collect();
    for block in &blocks {
        reference_block(c, block, &mut hidden);
    }
    rms_norm(hidden.last().unwrap(), norm, c)
}

fn reference_block(c: &DecoderConfig, block: &DecoderBlock<'_>, hidden: &mut [Vec<f64>]) {
    let dim = c.head_dim;
    let heads = |x: &[f64], norm: &Tensor, position: usize| -> Vec<Vec<f64>> {
        x.chunks(dim)
            .map(|head| rotate(c, &rms_norm(head, norm, c), position))
            .collect()
    };
    let mut queries = Vec::new();
    let mut keys = Vec::new();
    let mut values = Vec::new();
    for (position, x) in hidden.iter().enumerate() {
        let x = rms_norm(x, block.input_layernorm, c);
        queries.push(heads(&product(&x, block.q_proj), block.q_norm, position));
        keys.push(heads(&product(&x, block.k_proj), block.k_norm, position));
        values.push(product(&x, block.v_proj));
    }
    let group = c.num_attention_heads / c.num_key_value_heads;
    for (position, x) in hidden.iter_mut().enumerate() {
        let mut attended = Vec::new();
        for (head, query) in queries[position].iter().enumerate() {
            let kv = head / group;
            let scores = (0..=position).map(|j| dot(query, &keys[j][kv]) / (dim as f64).sqrt());
            let weights: Vec<f64> = scores.map(f64::exp).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..dim {
                let terms = weights.iter().zip(&values);
                let sum: f64 = terms.map(|(w, v)| w * v[kv * dim + i]).sum();
                attended.push(sum / total);
            }
        }
        add(x, &product(&attended, block.o_proj));
        let y = rms_norm(x, block.post_attention_layernorm, c);
        let gate = product(&y, block.gate_proj);
        let up = product(&y, block.up_proj);
        let inner: Vec<f64> = gate
            .iter()
            .zip(up)
            .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
            .collect();
        add(x, &product(&inner, block.down_proj));
    }
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
    weight.chunks_exact(k).map(element).collect()
}

fn rms_norm(x: &[f64], weight: &Tensor, c: &DecoderConfig) -> Vec<f64> {
    let rms = (dot(x, x) / x.len() as f64 + f64::from(c.rms_norm_eps)).sqrt();
    let terms = x.iter().zip(f64s(weight));
    terms.map(|(x, w)| x / rms * w).collect()
}

fn rotate(c: &DecoderConfig, x: &[f64], position: usize) -> Vec<f64> {
    let half = c.head_dim / 2;
    let turned = |i: usize| {
        let angle = position as f64 / c.rope_theta.powf((i % half) as f64 / half as f64);
        let other = if i < half { -x[half + i] } else { x[i - half] };
        x[i] * angle.cos() + other * angle.sin()
    };
    (0..c.head_dim).map(turned).collect()
}

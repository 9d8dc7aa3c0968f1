//! A decoder spelled out in plain operators, for one static shape.
//!
//! Linear layers and the two attention products are in the file's precision. What sums squares or
//! exponentials (RMSNorm, softmax), the residual stream, the inputs and the output are f32: hidden
//! states reach several hundred, and f16 ends at 65 504. The causal mask is a constant: a text
//! begins its row, so that no token of it sees the padding behind it.

use super::graph::{Graph, Value, int, ints};
use super::manifest::{INPUTS_EMBEDS, LAST_HIDDEN_STATE, LAST_TOKEN};
use super::shape::StaticShape;
use super::weights::StoredLayer;
use akidb_onnx::Error;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::tensor::Tensor;
use akidb_transformer::{DecoderBlock, DecoderConfig};

/// Far below every score, far from overflow.
const MASKED: f32 = -1e9;

/// The graph of a decoder with `blocks` and a final `norm`, whose linear layers are `stored`.
pub(super) fn spell(
    config: &DecoderConfig,
    (blocks, norm): (&[DecoderBlock<'_>], &Tensor),
    stored: &[StoredLayer],
    shape: StaticShape,
) -> Result<ModelProto, Error> {
    let StaticShape { batch, sequence } = shape;
    let mut graph = Graph::default();
    let width = config.hidden_size;
    let mut hidden = graph.input(INPUTS_EMBEDS, DataType::Float, &[batch, sequence, width]);
    let last_token = graph.input(LAST_TOKEN, DataType::Float, &[batch, 1, sequence]);
    let mut speller = Speller {
        constants: Constants::new(&mut graph, config, sequence),
        graph,
        config,
        shape,
    };
    for (i, (block, stored)) in blocks.iter().zip(stored).enumerate() {
        hidden = speller.block(i, block, stored, &hidden)?;
    }
    speller.graph.scope = "last_token".to_owned();
    let last = speller.graph.op(
        "MatMul",
        &[&last_token, &hidden],
        vec![],
        &[batch, 1, width],
    );
    speller.graph.scope = "norm".to_owned();
    let norm = norm.to_f32_vec()?;
    let last = speller.rms_norm("norm.weight", &norm, &last);
    speller
        .graph
        .output(LAST_HIDDEN_STATE, &last, &[batch, width]);
    Ok(speller.graph.finish("decoder"))
}

struct Speller<'a> {
    graph: Graph,
    constants: Constants,
    config: &'a DecoderConfig,
    shape: StaticShape,
}

/// Values that every layer reads.
struct Constants {
    epsilon: Value,
    /// `[1, sequence, 1, head_dim / 2]`.
    cos: Value,
    sin: Value,
    /// `[queries of one key/value head, sequence]`, 0 or [`MASKED`].
    mask: Value,
}

impl Constants {
    fn new(graph: &mut Graph, config: &DecoderConfig, sequence: usize) -> Self {
        let half = config.head_dim / 2;
        let angle = |position: usize, i: usize| {
            position as f64 * config.rope_theta.powf(-(i as f64) / half as f64)
        };
        let angles = (0..sequence).flat_map(|p| (0..half).map(move |i| angle(p, i)));
        let (cos, sin): (Vec<f32>, Vec<f32>) =
            angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        let dims = [1, sequence, 1, half];
        let group = config.num_attention_heads / config.num_key_value_heads;
        let masked = |query: usize, key: usize| if key > query { MASKED } else { 0.0 };
        let mask: Vec<f32> = (0..group)
            .flat_map(|_| 0..sequence)
            .flat_map(|query| (0..sequence).map(move |key| masked(query, key)))
            .collect();
        Self {
            epsilon: graph.floats("rms_norm_eps", &[1], &[config.rms_norm_eps]),
            cos: graph.floats("cos", &dims, &cos),
            sin: graph.floats("sin", &dims, &sin),
            mask: graph.floats("causal_mask", &[group * sequence, sequence], &mask),
        }
    }
}

impl Speller<'_> {
    fn block(
        &mut self,
        i: usize,
        block: &DecoderBlock<'_>,
        stored: &StoredLayer,
        hidden: &Value,
    ) -> Result<Value, Error> {
        let part = |name: &str| format!("layers.{i}.{name}");
        let normed = self.norm(&part("input_layernorm"), block.input_layernorm, hidden)?;
        let attended = self.attention(i, block, stored, &normed)?;
        let hidden = self.add_to(hidden, &attended);
        let norm = block.post_attention_layernorm;
        let normed = self.norm(&part("post_attention_layernorm"), norm, &hidden)?;
        self.graph.scope = part("mlp");
        let normed = self.graph.cast(&normed, stored.dtype());
        let gate = self.linear(&normed, &stored.gate_proj);
        let up = self.linear(&normed, &stored.up_proj);
        let sigmoid = self.graph.unary("Sigmoid", &gate);
        let silu = self.graph.each("Mul", &gate, &sigmoid);
        let product = self.graph.each("Mul", &silu, &up);
        let down = self.linear(&product, &stored.down_proj);
        Ok(self.add_to(&hidden, &down))
    }

    fn attention(
        &mut self,
        i: usize,
        block: &DecoderBlock<'_>,
        stored: &StoredLayer,
        normed: &Value,
    ) -> Result<Value, Error> {
        let StaticShape { batch, sequence } = self.shape;
        let head_dim = self.config.head_dim;
        let heads = self.config.num_attention_heads;
        let key_heads = self.config.num_key_value_heads;
        let queries = heads / key_heads * sequence;
        let dtype = stored.dtype();
        let part = |name: &str| format!("layers.{i}.{name}");

        self.graph.scope = part("attention");
        let normed = self.graph.cast(normed, dtype);
        let query = self.linear(&normed, &stored.q_proj);
        let key = self.linear(&normed, &stored.k_proj);
        let value = self.linear(&normed, &stored.v_proj);

        // The scores' scale is part of the queries' norm.
        let scale = 1.0 / (head_dim as f32).sqrt();
        let q_norm: Vec<f32> = block.q_norm.to_f32_vec()?;
        let q_norm: Vec<f32> = q_norm.iter().map(|w| w * scale).collect();
        let query = self.heads(&part("q_norm"), &query, heads, &q_norm, dtype);
        let k_norm = block.k_norm.to_f32_vec()?;
        let key = self.heads(&part("k_norm"), &key, key_heads, &k_norm, dtype);

        self.graph.scope = part("attention");
        let g = &mut self.graph;
        let value = g.reshape(&value, &[batch, sequence, key_heads, head_dim]);
        let value = g.transpose(&value, [0, 2, 1, 3]);
        let key = g.transpose(&key, [0, 2, 3, 1]);
        let query = g.transpose(&query, [0, 2, 1, 3]);
        // Query heads that share a key/value head become rows of one matrix.
        let query = g.reshape(&query, &[batch, key_heads, queries, head_dim]);
        let scores = g.matmul(&query, &key);
        let scores = g.cast(&scores, DataType::Float);
        let scores = g.each("Add", &scores, &self.constants.mask);
        let weights = g.op("Softmax", &[&scores], vec![int("axis", -1)], &scores.dims);
        let weights = g.cast(&weights, dtype);
        let attended = g.matmul(&weights, &value);
        let attended = g.reshape(&attended, &[batch, heads, sequence, head_dim]);
        let attended = g.transpose(&attended, [0, 2, 1, 3]);
        let attended = g.reshape(&attended, &[batch, sequence, heads * head_dim]);
        Ok(self.linear(&attended, &stored.o_proj))
    }

    /// Heads of queries or keys, normed and rotated, `[batch, sequence, heads, head_dim]`.
    fn heads(
        &mut self,
        scope: &str,
        projected: &Value,
        heads: usize,
        norm: &[f32],
        dtype: DataType,
    ) -> Value {
        let StaticShape { batch, sequence } = self.shape;
        self.graph.scope = scope.to_owned();
        let dims = [batch, sequence, heads, self.config.head_dim];
        let x = self.graph.reshape(projected, &dims);
        let x = self.graph.cast(&x, DataType::Float);
        let x = self.rms_norm(&format!("{scope}.weight"), norm, &x);
        let g = &mut self.graph;
        let Constants { cos, sin, .. } = &self.constants;
        let [first, second] = g.halves(&x);
        let first_cos = g.each("Mul", &first, cos);
        let second_sin = g.each("Mul", &second, sin);
        let second_cos = g.each("Mul", &second, cos);
        let first_sin = g.each("Mul", &first, sin);
        let low = g.each("Sub", &first_cos, &second_sin);
        let high = g.each("Add", &second_cos, &first_sin);
        let rotated = g.op("Concat", &[&low, &high], vec![int("axis", -1)], &dims);
        g.cast(&rotated, dtype)
    }

    fn norm(&mut self, scope: &str, weight: &Tensor, x: &Value) -> Result<Value, Error> {
        self.graph.scope = scope.to_owned();
        Ok(self.rms_norm(&format!("{scope}.weight"), &weight.to_f32_vec()?, x))
    }

    fn rms_norm(&mut self, name: &str, weight: &[f32], x: &Value) -> Value {
        let g = &mut self.graph;
        let weight = g.floats(name, &[weight.len()], weight);
        let squares = g.each("Mul", x, x);
        let mut dims = x.dims.clone();
        if let Some(last) = dims.last_mut() {
            *last = 1;
        }
        let axes = vec![ints("axes", &[-1]), int("keepdims", 1)];
        let mean = g.op("ReduceMean", &[&squares], axes, &dims);
        let mean = g.each("Add", &mean, &self.constants.epsilon);
        let root = g.unary("Sqrt", &mean);
        let normed = g.each("Div", x, &root);
        g.each("Mul", &normed, &weight)
    }

    fn linear(&mut self, x: &Value, weight: &akidb_onnx::proto::TensorProto) -> Value {
        let weight = self.graph.initializer(weight.clone());
        self.graph.matmul(x, &weight)
    }

    fn add_to(&mut self, hidden: &Value, x: &Value) -> Value {
        let x = self.graph.cast(x, DataType::Float);
        self.graph.each("Add", hidden, &x)
    }
}
